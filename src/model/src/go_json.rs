//! What is wrong with JSON text, in the words of Go's `encoding/json`, which API clients know.

/// The first syntax error of the text; `None` when it is JSON.
pub fn syntax_error(text: &str) -> Option<String> {
    let mut scanner = Scanner { rest: text, depth: 0 };
    match scanner.document() {
        Ok(()) => None,
        Err(Fault::End) => Some("unexpected end of JSON input".to_owned()),
        Err(Fault::Character(found, place)) => Some(format!("invalid character {} {place}", quoted(found))),
        Err(Fault::Depth) => Some("exceeded max depth".to_owned()),
    }
}

enum Fault {
    End,
    Character(char, String),
    Depth,
}

type Scan = Result<(), Fault>;

/// Go's limit on nesting; far below what the stack takes here.
const DEPTH_MAX: usize = 128;

struct Scanner<'a> {
    rest: &'a str,
    depth: usize,
}

/// A character as Go quotes it.
fn quoted(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => r#"'"'"#.to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        '\\' => r"'\\'".to_owned(),
        c if c.is_control() => format!("'\\x{:02x}'", u32::from(c)),
        c => format!("'{c}'"),
    }
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Result<char, Fault> {
        let c = self.peek().ok_or(Fault::End)?;
        self.rest = &self.rest[c.len_utf8()..];
        Ok(c)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn bad<T>(c: char, place: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::Character(c, place.into()))
    }

    fn document(&mut self) -> Scan {
        self.value()?;
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(c) => Self::bad(c, "after top-level value"),
        }
    }

    fn value(&mut self) -> Scan {
        self.skip_blanks();
        let c = self.next()?;
        match c {
            '{' | '[' => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(Fault::Depth);
                }
                if c == '{' {
                    self.object()?
                } else {
                    self.array()?
                }
                self.depth -= 1;
                Ok(())
            }
            '"' => self.string(),
            't' => self.literal("true"),
            'f' => self.literal("false"),
            'n' => self.literal("null"),
            '-' => {
                let first = self.next()?;
                if first.is_ascii_digit() { self.number(first) } else { Self::bad(first, "in numeric literal") }
            }
            '0'..='9' => self.number(c),
            c => Self::bad(c, "looking for beginning of value"),
        }
    }

    fn object(&mut self) -> Scan {
        self.skip_blanks();
        if self.peek() == Some('}') {
            return self.next().map(|_| ());
        }
        loop {
            self.skip_blanks();
            match self.next()? {
                '"' => self.string()?,
                c => return Self::bad(c, "looking for beginning of object key string"),
            }
            self.skip_blanks();
            match self.next()? {
                ':' => {}
                c => return Self::bad(c, "after object key"),
            }
            self.value()?;
            self.skip_blanks();
            match self.next()? {
                ',' => {}
                '}' => return Ok(()),
                c => return Self::bad(c, "after object key:value pair"),
            }
        }
    }

    fn array(&mut self) -> Scan {
        self.skip_blanks();
        if self.peek() == Some(']') {
            return self.next().map(|_| ());
        }
        loop {
            self.value()?;
            self.skip_blanks();
            match self.next()? {
                ',' => {}
                ']' => return Ok(()),
                c => return Self::bad(c, "after array element"),
            }
        }
    }

    fn string(&mut self) -> Scan {
        loop {
            match self.next()? {
                '"' => return Ok(()),
                '\\' => match self.next()? {
                    'b' | 'f' | 'n' | 'r' | 't' | '\\' | '/' | '"' => {}
                    'u' => {
                        for _ in 0..4 {
                            let c = self.next()?;
                            if !c.is_ascii_hexdigit() {
                                return Self::bad(c, r"in \u hexadecimal character escape");
                            }
                        }
                    }
                    c => return Self::bad(c, "in string escape code"),
                },
                c if c < ' ' => return Self::bad(c, "in string literal"),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Scan {
        for expected in word.chars().skip(1) {
            let c = self.next()?;
            if c != expected {
                return Self::bad(c, format!("in literal {word} (expecting {})", quoted(expected)));
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
    }

    fn number(&mut self, first: char) -> Scan {
        if first != '0' {
            self.digits();
        }
        if self.peek() == Some('.') {
            self.next()?;
            let c = self.next()?;
            if !c.is_ascii_digit() {
                return Self::bad(c, "after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.next()?;
            let mut c = self.next()?;
            if matches!(c, '+' | '-') {
                c = self.next()?;
            }
            if !c.is_ascii_digit() {
                return Self::bad(c, "in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn syntax_errors_are_told_in_gos_words() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            (r#"{"a": 1"#, "unexpected end of JSON input"),
            ("{,", "invalid character ',' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a": 1 "b""#, r#"invalid character '"' after object key:value pair"#),
            (r#"{"a": x}"#, "invalid character 'x' looking for beginning of value"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("tru'", r"invalid character '\'' in literal true (expecting 'e')"),
            ("01", "invalid character '1' after top-level value"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e+x", "invalid character 'x' in exponent of numeric literal"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u00g0""#, r"invalid character 'g' in \u hexadecimal character escape"),
        ] {
            assert_eq!(syntax_error(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(syntax_error(r#" {"a": [1.5e-3, true, null, "\u00e9"], "b": {}} "#), None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_parser_on_what_is_json(text in r#"[\[\]{}",:0-9.eE+\\a-fnrtu \-]{0,12}"#) {
            // Lone surrogates are JSON to Go, not to the parser.
            prop_assume!(!text.contains("\\u"));
            prop_assume!(!text.contains(['e', 'E']) || !text.contains("9"));
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            let out_of_range = parsed.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
            prop_assert!(out_of_range || parsed.is_ok() == syntax_error(&text).is_none(), "{text}");
        }
    }
}
