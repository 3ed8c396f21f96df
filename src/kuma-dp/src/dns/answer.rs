//! What is answered from the table.

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};

use super::records::Records;

/// The answer to `query` when its first question asks for an address of a name in the table. A name
/// without addresses of the asked family is answered without records.
pub(crate) fn from_table(query: &Message, records: &Records) -> Option<Message> {
    let question = query.queries.first()?;
    let name = question.name();
    let data: Vec<RData> = match question.query_type() {
        RecordType::A => records.lookup(&name.to_ascii())?.v4.iter().map(|ip| RData::A((*ip).into())).collect(),
        RecordType::AAAA => records.lookup(&name.to_ascii())?.v6.iter().map(|ip| RData::AAAA((*ip).into())).collect(),
        _ => return None,
    };
    let mut answer = reply(query, ResponseCode::NoError);
    answer.metadata.authoritative = true;
    answer.answers.extend(data.into_iter().map(|data| Record::from_rdata(name.clone(), records.ttl, data)));
    Some(answer)
}

/// An answer without records.
pub(crate) fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.queries = query.queries.first().cloned().into_iter().collect();
    answer
}
