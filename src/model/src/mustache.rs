//! The templates of `kuma-dp run --dataplane-file` and `kumactl apply -v`: Mustache over plain text
//! variables.
//!
//! Variables are not escaped (the output is YAML, not HTML), so `{{ a }}`, `{{{ a }}}` and `{{& a }}`
//! are the same. A missing variable renders as nothing. Partials and changed delimiters are refused.

use std::collections::BTreeMap;

/// A template that cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template line {line}: {reason}")]
pub struct TemplateError {
    /// Line of the tag at fault, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A part of a parsed template.
#[derive(Debug)]
enum Node<'a> {
    Text(&'a str),
    Variable(&'a str),
    Section { name: &'a str, inverted: bool, body: Vec<Node<'a>> },
}

/// Renders `template`; dotted names are looked up whole.
///
/// # Errors
/// Unclosed tags, unbalanced sections, partials and changed delimiters.
pub fn render(template: &str, variables: &BTreeMap<String, String>) -> Result<String, TemplateError> {
    let mut parser = Parser { template, position: 0 };
    let nodes = parser.nodes(None)?;
    let mut out = String::with_capacity(template.len());
    write_nodes(&nodes, variables, &mut out);
    Ok(out)
}

fn write_nodes(nodes: &[Node<'_>], variables: &BTreeMap<String, String>, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Variable(name) => out.push_str(variables.get(*name).map_or("", String::as_str)),
            Node::Section { name, inverted, body } => {
                let truthy = variables.get(*name).is_some_and(|v| !v.is_empty() && v != "false");
                if truthy != *inverted {
                    write_nodes(body, variables, out);
                }
            }
        }
    }
}

struct Parser<'a> {
    template: &'a str,
    position: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, reason: impl Into<String>) -> TemplateError {
        let line = self.template[..at].matches('\n').count() + 1;
        TemplateError { line, reason: reason.into() }
    }

    /// Nodes up to the end, or up to the tag that closes `section` (its name and where it opened).
    fn nodes(&mut self, section: Option<(&'a str, usize)>) -> Result<Vec<Node<'a>>, TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let rest = &self.template[self.position..];
            let Some(open) = rest.find("{{") else {
                if let Some((name, at)) = section {
                    return Err(self.error(at, format!("section {name} is not closed")));
                }
                nodes.push(Node::Text(rest));
                return Ok(nodes);
            };
            nodes.push(Node::Text(&rest[..open]));
            let at = self.position + open;
            let (sigil, name) = self.tag(at)?;
            match sigil {
                '!' => {}
                '#' | '^' => {
                    let body = self.nodes(Some((name, at)))?;
                    nodes.push(Node::Section { name, inverted: sigil == '^', body });
                }
                '/' => match section {
                    Some((opened, _)) if opened == name => return Ok(nodes),
                    Some((opened, _)) => {
                        return Err(self.error(at, format!("section {opened} is closed by {name}")));
                    }
                    None => return Err(self.error(at, format!("section {name} was not opened"))),
                },
                '>' => return Err(self.error(at, "partials are not supported")),
                '=' => return Err(self.error(at, "changing delimiters is not supported")),
                _ => nodes.push(Node::Variable(name)),
            }
        }
    }

    /// Reads the tag that opens at `at`: its sigil (`v` for a variable) and its name.
    fn tag(&mut self, at: usize) -> Result<(char, &'a str), TemplateError> {
        let inner = &self.template[at + 2..];
        let (inner, close, skipped) = match inner.strip_prefix('{') {
            Some(inner) => (inner, "}}}", 3),
            None => (inner, "}}", 2),
        };
        let Some(end) = inner.find(close) else {
            return Err(self.error(at, "tag is not closed"));
        };
        self.position = at + skipped + end + close.len();
        let tag = inner[..end].trim();
        let sigil = tag.chars().next().filter(|c| "!#^/>=&".contains(*c) && skipped == 2);
        let name = match sigil {
            Some(sigil) => tag[sigil.len_utf8()..].trim(),
            None => tag,
        };
        if name.is_empty() && sigil != Some('!') {
            return Err(self.error(at, "tag is empty"));
        }
        Ok((sigil.unwrap_or('v'), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        let variables = [("name", "web"), ("a.b", "x"), ("quote", "a&\"b\""), ("off", "false")];
        let variables = variables.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!(render(template, &variables).as_deref(), Ok(expected), "{template}");
    }

    #[test]
    fn variables_are_inserted_unescaped() {
        check("name: {{ name }}\n", "name: web\n");
        check("{{{quote}}} {{&quote}} {{quote}}", "a&\"b\" a&\"b\" a&\"b\"");
        check("{{ a.b }}", "x");
    }

    #[test]
    fn missing_variables_and_comments_are_nothing() {
        check("[{{ missing }}{{! note }}]", "[]");
    }

    #[test]
    fn sections_follow_truth() {
        check("{{#name}}a{{/name}}{{^name}}b{{/name}}{{#off}}c{{/off}}{{^missing}}d{{/missing}}", "ad");
    }

    #[test]
    fn faults_name_the_line() {
        let none = BTreeMap::new();
        let error = |t: &str| render(t, &none).unwrap_err().to_string();
        assert_eq!(error("a\n{{ b"), "template line 2: tag is not closed");
        assert_eq!(error("{{#a}}"), "template line 1: section a is not closed");
        assert_eq!(error("{{/a}}"), "template line 1: section a was not opened");
        assert_eq!(error("{{> p}}"), "template line 1: partials are not supported");
    }
}
