//! The subset of Go's `text/template` that hostname and SPIFFE templates use: fields, strings, the
//! function `label`, a few of Go's own functions, pipes, parentheses, `if`/`else`, trim markers.

use std::collections::BTreeMap;

/// A template that cannot be parsed; the text is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: :{line}: {reason}")]
pub struct ParseError {
    line: usize,
    reason: String,
}

/// A template that cannot be rendered with the given data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The data has no such field.
    #[error("can't evaluate field {0}")]
    NoField(String),
    /// `label` was asked for a label that is absent.
    #[error("label {0} not found")]
    NoLabel(String),
    /// A function got the wrong number of arguments.
    #[error("wrong number of args for {function}: want {want} got {got}")]
    Arguments {
        /// Its name.
        function: &'static str,
        /// How many it takes.
        want: usize,
        /// How many it got.
        got: usize,
    },
    /// The text became too long.
    #[error("the rendered text is longer than {RENDERED_LEN_MAX} bytes")]
    TooLong,
}

/// Longest text that a template may render to, in bytes.
const RENDERED_LEN_MAX: usize = 64 * 1024;

/// How deep parentheses and `if` may nest.
const DEPTH_MAX: usize = 32;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoTemplate {
    nodes: Vec<Node>,
}

/// What a template is rendered with.
pub struct Data<'a> {
    /// Fields by name, without the dot.
    pub fields: &'a BTreeMap<&'static str, String>,
    /// The value of `label "key"`; `None` is an error.
    pub label: &'a dyn Fn(&str) -> Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Text(String),
    Print(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands of which each gets the result of the former as its last argument.
type Pipeline = Vec<Command>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    Value(Operand),
    Call(Function, Vec<Operand>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Text(String),
    Field(String),
    Nested(Pipeline),
    Call(Function),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Label,
    Print,
    Printf,
    Eq,
    Ne,
    Not,
    And,
    Or,
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "label" => Self::Label,
            "print" => Self::Print,
            "printf" => Self::Printf,
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "not" => Self::Not,
            "and" => Self::And,
            "or" => Self::Or,
            _ => return None,
        })
    }

    fn call(self, arguments: &[String], data: &Data<'_>) -> Result<String, RenderError> {
        let want = |function: &'static str, want: usize| {
            if arguments.len() == want {
                Ok(())
            } else {
                Err(RenderError::Arguments { function, want, got: arguments.len() })
            }
        };
        let truth = |value: bool| if value { "true".to_owned() } else { String::new() };
        Ok(match self {
            Self::Label => {
                want("label", 1)?;
                (data.label)(&arguments[0]).ok_or_else(|| RenderError::NoLabel(arguments[0].clone()))?
            }
            Self::Print => arguments.concat(),
            Self::Printf => format_text(arguments),
            Self::Eq => {
                want("eq", 2)?;
                truth(arguments[0] == arguments[1])
            }
            Self::Ne => {
                want("ne", 2)?;
                truth(arguments[0] != arguments[1])
            }
            Self::Not => {
                want("not", 1)?;
                truth(arguments[0].is_empty())
            }
            Self::And => {
                arguments.iter().find(|a| a.is_empty()).or_else(|| arguments.last()).cloned().unwrap_or_default()
            }
            Self::Or => {
                arguments.iter().find(|a| !a.is_empty()).or_else(|| arguments.last()).cloned().unwrap_or_default()
            }
        })
    }
}

/// `printf` with `%s`, `%v`, `%q` and `%%`.
fn format_text(arguments: &[String]) -> String {
    let mut values = arguments.iter().skip(1);
    let mut out = String::new();
    let mut format = arguments.first().map(String::as_str).unwrap_or_default().chars();
    while let Some(c) = format.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match format.next() {
            Some('%') => out.push('%'),
            Some('q') => out.push_str(&format!("{:?}", values.next().map(String::as_str).unwrap_or_default())),
            Some(verb @ ('s' | 'v')) => match values.next() {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("%!{verb}(MISSING)")),
            },
            Some(other) => out.push_str(&format!("%!{other}(string)")),
            None => out.push_str("%!(NOVERB)"),
        }
    }
    out
}

impl GoTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// Go's words for the first fault.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { rest: text, line: 1, depth: 0 };
        let (nodes, end) = parser.nodes()?;
        match end {
            End::Text => Ok(Self { nodes }),
            End::Else => Err(parser.error("unexpected {{else}}")),
            End::Close => Err(parser.error("unexpected {{end}}")),
        }
    }

    /// Renders the template.
    ///
    /// # Errors
    /// When a field or a label is missing, or a function is misused.
    pub fn render(&self, data: &Data<'_>) -> Result<String, RenderError> {
        let mut out = String::new();
        render(&self.nodes, data, &mut out)?;
        Ok(out)
    }
}

fn render(nodes: &[Node], data: &Data<'_>, out: &mut String) -> Result<(), RenderError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&evaluate(pipeline, data)?),
            Node::If { condition, then, otherwise } => {
                let branch = if evaluate(condition, data)?.is_empty() { otherwise } else { then };
                render(branch, data, out)?;
            }
        }
        if out.len() > RENDERED_LEN_MAX {
            return Err(RenderError::TooLong);
        }
    }
    Ok(())
}

fn evaluate(pipeline: &[Command], data: &Data<'_>) -> Result<String, RenderError> {
    let mut piped = None;
    for command in pipeline {
        let value = match command {
            Command::Value(operand) => resolve(operand, data)?,
            Command::Call(function, operands) => {
                let mut arguments = operands.iter().map(|o| resolve(o, data)).collect::<Result<Vec<_>, _>>()?;
                arguments.extend(piped.take());
                function.call(&arguments, data)?
            }
        };
        piped = Some(value);
    }
    Ok(piped.unwrap_or_default())
}

fn resolve(operand: &Operand, data: &Data<'_>) -> Result<String, RenderError> {
    match operand {
        Operand::Text(text) => Ok(text.clone()),
        Operand::Field(name) => {
            data.fields.get(name.as_str()).cloned().ok_or_else(|| RenderError::NoField(name.clone()))
        }
        Operand::Nested(pipeline) => evaluate(pipeline, data),
        Operand::Call(function) => function.call(&[], data),
    }
}

/// What ended a list of nodes.
#[derive(PartialEq, Eq)]
enum End {
    Text,
    Else,
    Close,
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError { line: self.line, reason: reason.into() }
    }

    fn advance(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn deeper(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.error("template is nested too deep")) } else { Ok(()) }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End), ParseError> {
        let mut nodes = Vec::new();
        loop {
            let Some(open) = self.rest.find("{{") else {
                nodes.push(Node::Text(self.advance(self.rest.len()).to_owned()));
                return Ok((nodes, End::Text));
            };
            let mut text = self.advance(open);
            self.advance(2);
            if self.rest.starts_with("- ") {
                self.advance(1);
                text = text.trim_end();
            }
            nodes.push(Node::Text(text.to_owned()));
            self.space();
            if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| self.error("unclosed comment"))?;
                self.advance(end + 2);
                self.close()?;
                continue;
            }
            match self.keyword() {
                Some("end") => {
                    self.close()?;
                    return Ok((nodes, End::Close));
                }
                Some("else") => {
                    self.close()?;
                    return Ok((nodes, End::Else));
                }
                Some("if") => nodes.push(self.branch()?),
                _ => {
                    let pipeline = self.pipeline("command")?;
                    self.close()?;
                    nodes.push(Node::Print(pipeline));
                }
            }
        }
    }

    fn keyword(&mut self) -> Option<&'a str> {
        let word = ["end", "else", "if"].into_iter().find(|word| {
            self.rest
                .strip_prefix(word)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })?;
        Some(self.advance(word.len()))
    }

    fn branch(&mut self) -> Result<Node, ParseError> {
        self.deeper()?;
        let condition = self.pipeline("if")?;
        self.close()?;
        let (then, end) = self.nodes()?;
        let (otherwise, end) = if end == End::Else { self.nodes()? } else { (Vec::new(), end) };
        self.depth -= 1;
        match end {
            End::Close => Ok(Node::If { condition, then, otherwise }),
            End::Else => Err(self.error("expected end; found {{else}}")),
            End::Text => Err(self.error("unexpected EOF")),
        }
    }

    fn space(&mut self) {
        let len = self.rest.len() - self.rest.trim_start().len();
        self.advance(len);
    }

    fn at_close(&self) -> bool {
        self.rest.starts_with("}}") || self.rest.starts_with("-}}")
    }

    fn close(&mut self) -> Result<(), ParseError> {
        self.space();
        if self.rest.starts_with("-}}") {
            self.advance(3);
            self.space();
            return Ok(());
        }
        if !self.rest.starts_with("}}") {
            return Err(self.unexpected("command"));
        }
        self.advance(2);
        Ok(())
    }

    fn unexpected(&self, place: &str) -> ParseError {
        match self.rest.chars().next() {
            None => self.error("unclosed action"),
            Some(c) => self.error(format!("unexpected {:?} in {place}", c.to_string())),
        }
    }

    /// Commands up to the end of the action or of the parenthesis.
    fn pipeline(&mut self, context: &str) -> Result<Pipeline, ParseError> {
        let mut commands = Vec::new();
        loop {
            let mut operands = Vec::new();
            self.space();
            while !self.at_close() && !self.rest.starts_with(['|', ')']) {
                operands.push(self.operand()?);
                let before = self.rest.len();
                self.space();
                let separated = self.rest.len() < before || self.at_close() || self.rest.starts_with(['|', ')']);
                if !separated {
                    return Err(self.unexpected("operand"));
                }
            }
            commands.push(self.command(operands, context, commands.is_empty())?);
            if !self.rest.starts_with('|') {
                return Ok(commands);
            }
            self.advance(1);
        }
    }

    fn command(&self, operands: Vec<Operand>, context: &str, first: bool) -> Result<Command, ParseError> {
        let mut operands = operands.into_iter();
        match (operands.next(), operands.len()) {
            (None, _) => Err(self.error(format!("missing value for {context}"))),
            (Some(Operand::Call(function)), _) => Ok(Command::Call(function, operands.collect())),
            (Some(_), _) if !first => Err(self.error("non executable command in pipeline stage 2")),
            (Some(operand), 0) => Ok(Command::Value(operand)),
            (Some(_), _) => Err(self.error("can't give argument to non-function")),
        }
    }

    fn operand(&mut self) -> Result<Operand, ParseError> {
        let Some(first) = self.rest.chars().next() else { return Err(self.error("unclosed action")) };
        match first {
            '"' => self.quoted(),
            '`' => {
                let end = self.rest[1..].find('`').ok_or_else(|| self.error("unterminated raw quoted string"))?;
                let text = self.advance(end + 2);
                Ok(Operand::Text(text[1..=end].to_owned()))
            }
            '(' => {
                self.deeper()?;
                self.advance(1);
                let nested = self.pipeline("parenthesized pipeline")?;
                if !self.rest.starts_with(')') {
                    return Err(self.error("unclosed left paren"));
                }
                self.advance(1);
                self.depth -= 1;
                Ok(Operand::Nested(nested))
            }
            '.' => {
                self.advance(1);
                let name = self.identifier();
                if name.is_empty() { Err(self.unexpected("operand")) } else { Ok(Operand::Field(name.to_owned())) }
            }
            c if c.is_alphabetic() || c == '_' => {
                let name = self.identifier();
                Function::named(name)
                    .map(Operand::Call)
                    .ok_or_else(|| self.error(format!("function {name:?} not defined")))
            }
            _ => Err(self.unexpected("command")),
        }
    }

    fn identifier(&mut self) -> &'a str {
        let len = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        self.advance(len)
    }

    fn quoted(&mut self) -> Result<Operand, ParseError> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.advance(at + 1);
                    return Ok(Operand::Text(text));
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => return Err(self.error("invalid syntax")),
                },
                _ => text.push(c),
            }
        }
        Err(self.error("unterminated quoted string"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(template: &str) -> Result<String, String> {
        let fields = BTreeMap::from([("Mesh", "default".to_owned()), ("Zone", String::new())]);
        let label = |key: &str| (key == "app").then(|| "web".to_owned());
        let data = Data { fields: &fields, label: &label };
        let template = GoTemplate::parse(template).map_err(|e| e.to_string())?;
        template.render(&data).map_err(|e| e.to_string())
    }

    #[test]
    fn templates_render_as_in_go() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{ .Mesh }}.mesh.local", "default.mesh.local"),
            ("{{.Mesh}}.{{.Zone}}.x", "default..x"),
            (r#"{{ label "app" }}"#, "web"),
            (r#"{{ "app" | label }}"#, "web"),
            (r#"{{ label `app` | printf "%s-%q" .Mesh }}"#, "default-\"web\""),
            ("a {{- .Mesh -}} b", "adefaultb"),
            ("{{/* nothing */}}x", "x"),
            ("{{ if .Zone }}z{{ else }}{{ .Mesh }}{{ end }}", "default"),
            (r#"{{ if eq .Mesh "default" }}d{{ end }}"#, "d"),
            (r#"{{ print (label "app") .Mesh }}"#, "webdefault"),
            (r"{{ or .Zone .Mesh }}", "default"),
        ] {
            assert_eq!(rendered(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn faults_are_told_in_words_of_go() {
        for (template, message) in [
            ("{{ .Mesh", "template: :1: unclosed action"),
            ("{{ }}", "template: :1: missing value for command"),
            ("{{ lower .Mesh }}", "template: :1: function \"lower\" not defined"),
            ("\n{{ .Mesh } }}", "template: :2: unexpected \"}\" in command"),
            ("{{ .Mesh} }}", "template: :1: unexpected \"}\" in operand"),
            ("{{ \"x }}", "template: :1: unterminated quoted string"),
            ("{{ end }}", "template: :1: unexpected {{end}}"),
            ("{{ if .Mesh }}", "template: :1: unexpected EOF"),
            ("{{ .Nope }}", "can't evaluate field Nope"),
            ("{{ label \"x\" }}", "label x not found"),
            ("{{ label }}", "wrong number of args for label: want 1 got 0"),
        ] {
            assert_eq!(rendered(template).unwrap_err(), message, "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(template in "(\\{\\{|\\}\\}|[ -~]|\n|\\(|if |end|\\||\"|é){0,60}") {
            drop(rendered(&template));
        }
    }
}
