//! Joining a group: the token opens the door, the leader lets the replica in.

use std::time::{Duration, Instant};

use crate::authority_rotation::is_of_another_authority;
use crate::errors::OpenError;
use crate::peers::{CallError, Peers};
use crate::pki::JoinToken;
use crate::rpc::{Change, Reply, Request, Welcome};
use crate::settings::Join;
use crate::types::ReplicaId;

/// How long a new replica looks for a group.
const JOIN_WAIT: Duration = Duration::from_secs(60);

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Who has a join token and looks for its group.
pub(crate) struct Knock {
    peers: Peers,
    request: Request,
}

impl Knock {
    /// With the text of the token.
    pub(crate) fn with(token: &str) -> Result<Self, OpenError> {
        let token = JoinToken::parse(token).ok_or_else(|| OpenError::Settings("join token is malformed".to_owned()))?;
        let request = Request::Join { secret: token.secret.clone().into() };
        Ok(Self { peers: Peers::new(token.client_tls()), request })
    }

    /// Shows the token at one address.
    pub(crate) async fn at(&self, address: &str) -> Result<Welcome, CallError> {
        match self.peers.call(None, address, &self.request, CALL_TIMEOUT).await? {
            Reply::Joined(welcome) => Ok(welcome),
            other => Err(CallError::Lost(format!("{address} answered {other:?}"))),
        }
    }
}

/// Shows the token to the given replicas, one after the other, until one takes it.
pub(crate) async fn knock(join: &Join) -> Result<Welcome, OpenError> {
    let knock = Knock::with(&join.token)?;
    let start = Instant::now();
    let mut why = "no address to join was given".to_owned();
    while start.elapsed() < JOIN_WAIT && !join.addresses.is_empty() {
        let mut all_strange = true;
        for address in &join.addresses {
            match knock.at(address).await {
                Ok(welcome) => return Ok(welcome),
                Err(CallError::NotSent(error)) if error.contains("join token") => {
                    return Err(OpenError::Settings(format!("{error}: the group has another one")));
                }
                Err(error) => why = error.to_string(),
            }
            all_strange &= is_of_another_authority(&why);
        }
        // While the authority is replaced, some may show the one and some the other.
        if all_strange {
            return Err(replaced(&why));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    Err(OpenError::Start(format!("no group could be joined: {why}")))
}

/// Asks the group's replicas, until the leader among them has admitted this one as a learner; in
/// place of the one that had its address, when `replaces`.
pub(crate) async fn enter(
    peers: &Peers,
    welcome: &Welcome,
    join: &Join,
    id: ReplicaId,
    address: &str,
    replaces: bool,
) -> Result<(), OpenError> {
    let address = address.to_owned();
    let request =
        Request::Change(if replaces { Change::Replace { id, address } } else { Change::Admit { id, address } });
    let start = Instant::now();
    let mut why = String::new();
    while start.elapsed() < JOIN_WAIT {
        let mut all_strange = true;
        for replica in welcome.addresses.iter().chain(&join.addresses) {
            match peers.call(None, replica, &request, CALL_TIMEOUT).await {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::NotLeader(_)) => why = format!("{replica} does not lead"),
                Ok(other) => why = format!("{replica} answered {other:?}"),
                Err(error) => why = error.to_string(),
            }
            all_strange &= is_of_another_authority(&why);
        }
        if all_strange {
            return Err(replaced(&why));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    Err(OpenError::Start(format!("the group did not admit this replica: {why}")))
}

/// What is told when nobody shows a certificate of the authority that is pinned.
fn replaced(why: &str) -> OpenError {
    let reason = "the join token is of another group, or of before its authority was replaced";
    OpenError::Settings(format!("{why}: {reason}; take the present one"))
}
