//! Two replicas step by step, and what a step must not do.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A place for the file, and what a group holds that founds itself.
fn founded() -> (tempfile::TempDir, Pki) {
    (tempfile::tempdir().unwrap(), Pki::generate().unwrap())
}

/// Takes a step, and what is on the disk then is what is held.
fn take(pki: &Pki, dir: &tempfile::TempDir, step: &Step) -> Result<(), String> {
    let file = dir.path().join("cluster.pki");
    let taken = pki.take_step(step, &file);
    if taken.is_ok() && file.exists() {
        assert_eq!(Pki::load(&file).unwrap().unwrap().to_text(), pki.to_text());
    }
    taken
}

/// The same authority and secret on another replica.
fn copy(pki: &Pki) -> Pki {
    Pki::parse(&pki.to_text()).unwrap()
}

#[test]
fn the_file_comes_back_and_the_token_fits_it() {
    let pki = Pki::generate().unwrap();
    assert_eq!(copy(&pki).to_text(), pki.to_text());
    let token = JoinToken::parse(&pki.token()).unwrap();
    assert!(pki.admits(&token.secret));
    assert!(!pki.admits(&token.secret[1..]));
    assert!(!pki.admits(b""));
    assert_eq!(pki.trusted(), [token.authority.fingerprint()]);
}

/// The text of a group whose authority was never replaced: the secret, certificate, key.
#[test]
fn a_group_that_never_rotated_has_the_file_that_every_version_reads() {
    let text = Pki::generate().unwrap().to_text();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("-----")).collect();
    let block = |what: &str| [format!("-----BEGIN {what}-----"), format!("-----END {what}-----")];
    assert_eq!(lines, [block("CERTIFICATE"), block("PRIVATE KEY")].concat());
    let (secret, rest) = text.split_once('\n').unwrap();
    assert_eq!(BASE64.decode(secret).unwrap().len(), SECRET_BYTES);
    assert!(rest.starts_with("-----BEGIN CERTIFICATE") && text.ends_with("-----END PRIVATE KEY-----\n"));
}

#[test]
fn a_newer_join_secret_replaces_the_older_one() {
    let (dir, pki) = founded();
    let file = dir.path().join("cluster.pki");
    let former = JoinToken::parse(&pki.token()).unwrap();
    let (generation, secret) = pki.next_secret();
    assert!(pki.take_secret(generation, secret, &file).unwrap());
    assert!(!pki.take_secret(generation, [7; 32], &file).unwrap() && !pki.take_secret(0, [7; 32], &file).unwrap());
    assert!(pki.admits(&secret) && !pki.admits(&former.secret));
    let read = Pki::load(&file).unwrap().unwrap();
    assert!(read.admits(&secret) && read.generation() == 1);
}

#[test]
fn replicas_with_one_secret_have_one_authority() {
    let [one, same, other] = ["s3cret", "s3cret", "another"].map(|text| Pki::of_shared_secret(text).unwrap());
    assert_eq!(one.token(), same.token());
    assert_ne!(one.token(), other.token());
    assert!(Pki::parse(&one.to_text()).is_some());
}

#[test]
fn two_replicas_replace_the_authority_step_by_step() {
    let (dirs, pki) = ([tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()], Pki::generate().unwrap());
    let replicas = [copy(&pki), copy(&pki)];
    let each = |step: &Step| replicas.iter().zip(&dirs).for_each(|(pki, dir)| take(pki, dir, step).unwrap());
    let (old, token) = (pki.trusted()[0], pki.token());
    let (new, trust) = replicas[0].trust_step().unwrap();
    each(&trust);
    for replica in &replicas {
        assert_eq!(replica.trusted(), [old, new]);
        assert_eq!(replica.token(), token, "it is not shown yet");
    }
    each(&Step::Show { authority: new, generation: 1 });
    assert_eq!(replicas[0].token(), replicas[1].token());
    let shown = JoinToken::parse(&replicas[1].token()).unwrap();
    assert_eq!(shown.authority.fingerprint(), new);
    for replica in &replicas {
        assert_eq!(replica.trusted(), [new, old]);
        assert!(replica.admits(&shown.secret) && !replica.admits(&JoinToken::parse(&token).unwrap().secret));
    }
    each(&replicas[0].rely_step());
    for replica in &replicas {
        assert_eq!(replica.trusted(), [new]);
        assert_eq!(replica.trust(), Trust { shown: new.to_string(), next: None, former: None });
    }
    assert_eq!(replicas[0].to_text(), replicas[1].to_text());
}

#[test]
fn a_step_that_was_taken_changes_nothing_and_one_that_does_not_fit_is_refused() {
    let (dir, pki) = founded();
    let stranger = Pki::generate().unwrap().trusted()[0];
    let (new, trust) = pki.trust_step().unwrap();
    let show = Step::Show { authority: new, generation: 1 };
    let rely = Step::Rely { authority: new };
    let refused = |step: &Step| {
        let before = pki.to_text();
        take(&pki, &dir, step).unwrap_err();
        assert_eq!(pki.to_text(), before);
    };
    refused(&show);
    refused(&rely);
    for step in [&trust, &show, &rely] {
        take(&pki, &dir, step).unwrap();
        let after = pki.to_text();
        take(&pki, &dir, step).unwrap();
        assert_eq!(pki.to_text(), after);
        refused(&Step::Show { authority: stranger, generation: 9 });
        refused(&Step::Rely { authority: stranger });
    }
    refused(&Step::Trust { certificate: "x".to_owned(), key: "y".to_owned() });
}

/// Two leaders may begin one after the other; who shows an authority has it from all.
#[test]
fn an_authority_that_nobody_shows_gives_way_to_another_and_one_that_is_shown_does_not() {
    let (dir, pki) = founded();
    let (given_up, first) = copy(&pki).trust_step().unwrap();
    let (new, second) = copy(&pki).trust_step().unwrap();
    take(&pki, &dir, &first).unwrap();
    take(&pki, &dir, &second).unwrap();
    assert!(pki.trusted().contains(&new) && !pki.trusted().contains(&given_up));
    take(&pki, &dir, &Step::Show { authority: new, generation: 1 }).unwrap();
    take(&pki, &dir, &first).unwrap_err();
    // It goes on with the one that it shows.
    assert_eq!(pki.trust_step().unwrap().0, new);
}

#[test]
fn who_goes_on_with_a_replacement_comes_to_the_same_join_secret() {
    let (dir, pki) = founded();
    let other = copy(&pki);
    let (new, trust) = pki.trust_step().unwrap();
    take(&pki, &dir, &trust).unwrap();
    take(&other, &dir, &trust).unwrap();
    assert_eq!(other.trust_step().unwrap().0, new);
    take(&pki, &dir, &Step::Show { authority: new, generation: 3 }).unwrap();
    let restarted = copy(&other);
    take(&restarted, &dir, &Step::Show { authority: new, generation: 3 }).unwrap();
    assert_eq!(restarted.token(), pki.token());
    // A secret that came later stays.
    let file = dir.path().join("cluster.pki");
    assert!(pki.take_secret(4, [7; 32], &file).unwrap());
    take(&pki, &dir, &Step::Show { authority: new, generation: 4 }).unwrap();
    assert!(pki.admits(&[7; 32]));
}

#[test]
fn what_is_held_is_not_changed_when_the_file_cannot_be_written() {
    let (dir, pki) = founded();
    let (_, trust) = pki.trust_step().unwrap();
    let before = pki.to_text();
    assert!(pki.take_step(&trust, &dir.path().join("nowhere/cluster.pki")).is_err());
    assert_eq!(pki.to_text(), before);
}

#[test]
fn own_certificates_are_of_the_authority_that_is_shown() {
    let (dir, pki) = founded();
    let (new, trust) = pki.trust_step().unwrap();
    for step in [trust, Step::Show { authority: new, generation: 1 }, Step::Rely { authority: new }] {
        take(&pki, &dir, &step).unwrap();
        assert!(pki.server_tls(7, HOUR).is_ok() && pki.client_tls(7, HOUR).is_ok());
    }
}

#[test]
fn what_is_no_token_is_refused() {
    for text in
        ["", "kuma-join", "kuma-join.x", "other.YQ.YQ", "kuma-join.YQ.YQ.YQ", "kuma-join.YQ.YQ", "kuma-join.*.YQ"]
    {
        assert!(JoinToken::parse(text).is_none(), "{text:?}");
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let (dir, pki) = founded();
    let (new, trust) = pki.trust_step().unwrap();
    let plain = pki.to_text();
    take(&pki, &dir, &trust).unwrap();
    let trusting = pki.to_text();
    take(&pki, &dir, &Step::Show { authority: new, generation: 1 }).unwrap();
    for text in [plain, trusting, pki.to_text()] {
        for cut in [0, 10, 100, text.len() / 2 - 100, text.len() - 200] {
            assert!(Pki::parse(&text[..cut]).is_none(), "cut at {cut} of {}", text.len());
        }
    }
}
