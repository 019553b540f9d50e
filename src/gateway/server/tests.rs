//! What ends a gateway, and what does not.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use super::*;
use crate::gateway::{Hosts, Origins, Pairings};
use crate::keychain::{Keychain, Patience};
use crate::system::environment::Environment;
use crate::vault::store::Store;

#[test]
fn a_panic_is_a_500_for_its_own_request() {
    let (reply, rest) = or_internal_error(|| panic!("expected by this test"));
    assert_eq!((reply.status, rest), (500, Rest::Broken));
}

#[test]
fn a_gateway_that_a_socket_started_ends_when_nobody_is_connected_any_more() {
    let environment = Environment::of(|_| None);
    let (sources, keychain) =
        (environment.passphrase.clone(), Keychain::new(&environment, Patience::SHORT));
    // A root that is not there: nobody is paired, and there is no key.
    let root = std::env::temp_dir().join(format!("lf-test-server-{}", std::process::id()));
    let state = root.join("gateway");
    let listeners = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let pairings = Pairings::at(root.clone(), &environment, keychain.clone());
    let hosts = Hosts::new("box", "").unwrap();
    let guard = Guard::new(hosts, Origins::with_extra("").unwrap(), pairings);
    let api = Api { store: Store::at(root.join("keys")), state, sources, keychain };
    let (stop, notify) = UnixStream::pair().unwrap();
    // Connected from before it begins: its time only runs once this is closed.
    let client = TcpStream::connect(address).unwrap();
    let (sender, receiver) = mpsc::channel();
    let served = thread::spawn(move || {
        let gateway = Gateway::new(guard, api, None, |_| {});
        let idle = Some(Duration::from_millis(200));
        gateway.serve(listeners, &stop, idle, || sender.send(()).unwrap())
    });
    let too_early = receiver.recv_timeout(Duration::from_millis(700));
    assert!(too_early.is_err(), "somebody was still connected");
    drop(client);
    receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    served.join().unwrap().unwrap();
    drop(notify);
}
