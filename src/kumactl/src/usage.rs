//! Mistakes on the command line in the words that scripts know from Kuma (those of Go's cobra).

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What is wrong, on one line; `None` when the command line asks for help.
pub(crate) fn describe(error: &Error) -> Option<String> {
    Some(match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => return None,
        ErrorKind::MissingRequiredArgument => missing(&context(error, ContextKind::InvalidArg)),
        ErrorKind::InvalidSubcommand => {
            let given = context(error, ContextKind::InvalidSubcommand).join(" ");
            format!("unknown command {given:?} for {:?}", command_path(error))
        }
        ErrorKind::UnknownArgument => unknown(&context(error, ContextKind::InvalidArg).join(" "), error),
        ErrorKind::InvalidValue if first(error, ContextKind::InvalidArg).starts_with("--output") => {
            format!("unknown output format {:?}", first(error, ContextKind::InvalidValue))
        }
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

fn context(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn first(error: &Error, kind: ContextKind) -> String {
    context(error, kind).into_iter().next().unwrap_or_default()
}

/// `kumactl config`, from the usage line of the error.
fn command_path(error: &Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string(),
        _ => String::new(),
    };
    let words = usage.split_whitespace().skip(1).take_while(|word| !word.starts_with(['<', '[', '-']));
    words.collect::<Vec<_>>().join(" ")
}

/// Flags are named without dashes and values; without flags it is arguments that are missing.
fn missing(arguments: &[String]) -> String {
    let flags: Vec<_> = arguments
        .iter()
        .filter_map(|argument| argument.trim_start_matches('<').strip_prefix("--"))
        .map(|flag| format!("{:?}", flag.split([' ', '>', '|']).next().unwrap_or_default()))
        .collect();
    if flags.is_empty() {
        // Only `delete` takes two arguments; all others take one.
        let wanted = if arguments.iter().any(|argument| argument == "<NAME>") { 2 } else { 1 };
        return format!("accepts {wanted} arg(s), received {}", wanted - arguments.len().min(wanted));
    }
    format!("required flag(s) {} not set", flags.join(", "))
}

fn unknown(argument: &str, error: &Error) -> String {
    if argument.starts_with("--") {
        return format!("unknown flag: {argument}");
    }
    match argument.strip_prefix('-').and_then(|letters| letters.chars().next()) {
        Some(letter) => format!("unknown shorthand flag: '{letter}' in {argument}"),
        None => format!("unknown command {argument:?} for {:?}", command_path(error)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn said(line: &str) -> Option<String> {
        describe(&Cli::try_parse_from(line.split(' ')).unwrap_err())
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_kuma() {
        let cases = [
            ("kumactl apply", "required flag(s) \"file\" not set"),
            ("kumactl config control-planes add", "required flag(s) \"name\", \"address\" not set"),
            ("kumactl nothing", "unknown command \"nothing\" for \"kumactl\""),
            ("kumactl config nothing", "unknown command \"nothing\" for \"kumactl config\""),
            ("kumactl version --nothing", "unknown flag: --nothing"),
            ("kumactl version -x", "unknown shorthand flag: 'x' in -x"),
            ("kumactl delete mesh", "accepts 2 arg(s), received 1"),
            ("kumactl get meshes -o xml", "unknown output format \"xml\""),
        ];
        for (line, expected) in cases {
            assert_eq!(said(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_command_that_needs_another_shows_its_help() {
        for line in ["kumactl", "kumactl get", "kumactl inspect", "kumactl config", "kumactl help"] {
            assert_eq!(said(line), None, "{line}");
        }
    }
}
