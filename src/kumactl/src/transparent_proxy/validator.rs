//! `install transparent-proxy-validator`: whether connections are redirected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{ValidatorFlags, machine};

const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);
const DIAL_TIMEOUT: Duration = Duration::from_millis(50);
/// A port on which nothing listens, so that only redirection can lead to an answer.
const UNUSED_PORT: u16 = 20_599;

/// Checks that a connection to another port comes to the one that traffic is redirected to.
///
/// # Errors
/// When it does not.
pub(crate) fn validate(flags: &ValidatorFlags) -> Result<()> {
    let port = flags.validation_server_port;
    check(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 6).into(), port)?;
    match flags.ip_family_mode.as_str() {
        "ipv4" => {}
        "dualstack" if machine::has_ipv6() => {
            check(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into(), port)?;
        }
        "dualstack" => println!("there is no IPv6 address, IPv6 is not checked"),
        _ => bail!("must be one of 'dualstack' or 'ipv4'"),
    }
    println!("validation passed");
    Ok(())
}

fn check(server: IpAddr, target: IpAddr, port: u16) -> Result<()> {
    let _listener = TcpListener::bind((server, port)).context("validation failed: could not start the server")?;
    for attempt in 1..=ATTEMPTS {
        if TcpStream::connect_timeout(&SocketAddr::new(target, UNUSED_PORT), DIAL_TIMEOUT).is_ok() {
            return Ok(());
        }
        if attempt < ATTEMPTS {
            std::thread::sleep(PAUSE);
        }
    }
    bail!(
        "validation failed: client failed to connect to the verification server after retries - most likely the transparent proxy is not established correctly, please check CNI logs"
    )
}
