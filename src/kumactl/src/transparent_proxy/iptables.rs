//! The programs of iptables: which of them are here, and running them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::exclusions::Family;

/// Where programs are looked for beside the `PATH`.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Which of the two implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Nft,
    Legacy,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }
}

/// The programs of one family.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) mode: Mode,
    save: PathBuf,
    restore: PathBuf,
}

fn prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// The programs of both families, of the implementation that is in use on this machine.
///
/// # Errors
/// When there are none.
pub(super) fn find(given: &Value) -> Result<(Programs, Option<Programs>)> {
    if let Some(v4) = named(given, Family::V4) {
        return Ok((v4, named(given, Family::V6)));
    }
    let found = [Mode::Nft, Mode::Legacy].map(|mode| detect(Family::V4, mode));
    let v4 = match found {
        [Some(nft), Some(legacy)] => {
            let (in_nft, in_legacy) = (nft.rules().unwrap_or_default(), legacy.rules().unwrap_or_default());
            let docker = |rules: &str| rules.contains(":DOCKER_OUTPUT");
            let is_legacy = match (has_rules(&in_nft), has_rules(&in_legacy)) {
                (true, true) => docker(&in_legacy) && !docker(&in_nft),
                (false, true) => true,
                (_, false) => false,
            };
            if is_legacy { legacy } else { nft }
        }
        [Some(only), None] | [None, Some(only)] => only,
        [None, None] => bail!("failed to find valid nft or legacy executables"),
    };
    let v6 = detect(Family::V6, v4.mode);
    Ok((v4, v6))
}

fn has_rules(saved: &str) -> bool {
    saved.lines().any(|line| line.starts_with("-A"))
}

/// The programs that the settings name, when all of a family are.
fn named(given: &Value, family: Family) -> Option<Programs> {
    let path = |suffix: &str| given.get(format!("{}{suffix}", prefix(family)))?.as_str().map(PathBuf::from);
    let (program, save, restore) = (path("")?, path("-save")?, path("-restore")?);
    Some(Programs { mode: mode_of(&program).unwrap_or(Mode::Legacy), save, restore })
}

fn detect(family: Family, mode: Mode) -> Option<Programs> {
    let find = |suffix: &str| {
        let with_mode = format!("{}-{}{suffix}", prefix(family), mode.name());
        let plain = format!("{}{suffix}", prefix(family));
        [with_mode, plain].iter().flat_map(|name| places(name)).find(|path| mode_of(path) == Some(mode))
    };
    find("")?;
    Some(Programs { mode, save: find("-save")?, restore: find("-restore")? })
}

fn places(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// Which implementation a program is, by its own words; the oldest say nothing.
fn mode_of(program: &Path) -> Option<Mode> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout);
    let mode = if version.contains("(nf_tables)") { Mode::Nft } else { Mode::Legacy };
    output.status.success().then_some(mode)
}

impl Programs {
    /// The rules in force.
    ///
    /// # Errors
    /// When the program fails.
    pub(super) fn rules(&self) -> Result<String> {
        let output =
            Command::new(&self.save).output().with_context(|| format!("could not run {}", self.save.display()))?;
        if !output.status.success() {
            bail!("{} failed: {}", self.save.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Adds rules to those that are there, or replaces them all.
    ///
    /// # Errors
    /// The words of the program when it refuses.
    pub(super) fn restore(&self, rules: &str, replaces: bool, (wait, wait_interval): (u32, u32)) -> Result<()> {
        let mut command = Command::new(&self.restore);
        if !replaces {
            command.arg("--noflush");
        }
        if self.mode == Mode::Legacy {
            command.arg(format!("--wait={wait}")).arg(format!("--wait-interval={wait_interval}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not run {}", self.restore.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(rules.as_bytes()).context("could not hand over the rules")?;
        }
        let output = child.wait_with_output().context("could not wait for iptables")?;
        if !output.status.success() {
            bail!("{} failed: {}", self.restore.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
