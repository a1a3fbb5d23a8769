//! The shim as daemons other than the installed containerd meet it.

use std::process::{Command, Stdio};

use containerd_shim_protos::api::{ConnectRequest, ConnectResponse, ShutdownRequest, StateRequest};
use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim_async::Client;
use containerd_shim_protos::ttrpc;
use containerd_shim_protos::types::introspection::RuntimeInfo;

use crate::harness::stack::{self, ANSWER};
use crate::harness::{runs, wait_for};

struct Shim {
    bundle: tempfile::TempDir,
}

impl Shim {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        Shim { bundle: tempfile::tempdir().unwrap() }
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(stack::shim());
        let socket = self.bundle.path().join("containerd.sock").display().to_string();
        command
            .current_dir(self.bundle.path())
            .args(["-namespace", "default", "-id", "greeted", "-address", &socket, action])
            .env_remove("MAX_SHIM_VERSION")
            .env("TTRPC_ADDRESS", format!("{socket}.ttrpc"))
            .stdin(Stdio::null());
        command
    }
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "containerd 1.6 takes standard error for part of the address");
    output.stdout
}

pub async fn call<Q: Message, A: Message>(
    client: &Client,
    version: u32,
    method: &str,
    question: &Q,
) -> ttrpc::Result<A> {
    let request = ttrpc::Request {
        service: format!("containerd.task.v{version}.Task"),
        method: method.into(),
        timeout_nano: i64::try_from(ANSWER.get().as_nanos()).unwrap(),
        payload: question.write_to_bytes().unwrap(),
        ..Default::default()
    };
    let answer = client.request(request).await?;
    Ok(A::parse_from_bytes(&answer.payload).unwrap())
}

/// Asks over both versions of the service, then lets the shim go.
async fn converse(address: &str) {
    let client = Client::connect(address).await.unwrap();
    let question = ConnectRequest { id: "greeted".into(), ..Default::default() };
    let mut pid = 0;
    for version in [2, 3] {
        let answer: ConnectResponse = call(&client, version, "Connect", &question).await.unwrap();
        pid = answer.shim_pid;
        assert!(runs(pid));
        let state = StateRequest { id: "greeted".into(), ..Default::default() };
        let error = call::<_, ConnectResponse>(&client, version, "State", &state).await.unwrap_err();
        match error {
            ttrpc::Error::RpcStatus(status) => assert_eq!(status.code(), ttrpc::Code::NOT_FOUND),
            other => panic!("{other}"),
        }
    }
    let question = ShutdownRequest { id: "greeted".into(), ..Default::default() };
    call::<_, ConnectResponse>(&client, 3, "Shutdown", &question).await.unwrap();
    drop(client);
    wait_for("the shim to end", || (!runs(pid)).then_some(()));
    assert!(!std::fs::exists(address.strip_prefix("unix://").unwrap()).unwrap(), "the socket is left");
}

#[tokio::test]
async fn containerd_1_6_gets_an_address() {
    let shim = Shim::new();
    let address = String::from_utf8(output(&mut shim.command("start"))).unwrap();
    assert!(address.starts_with("unix:///run/containerd/s/"), "{address}");
    converse(&address).await;
}

#[tokio::test]
async fn containerd_1_7_and_2_0_get_json_of_their_version() {
    for (offered, expected) in [("2", 2), ("3", 3), ("4", 3)] {
        let shim = Shim::new();
        let answer = output(shim.command("start").env("MAX_SHIM_VERSION", offered));
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((&answer["version"], &answer["protocol"]), (&expected.into(), &"ttrpc".into()));
        converse(answer["address"].as_str().unwrap()).await;
    }
}

#[tokio::test]
async fn containerd_2_3_gets_a_bootstrap_message() {
    let shim = Shim::new();
    let params = BootstrapParams {
        instance_id: "greeted".into(),
        namespace: "default".into(),
        containerd_version: "2.3.0".into(),
        containerd_ttrpc_address: "/nonexistent/c.sock.ttrpc".into(),
        ..Default::default()
    };
    let input = shim.bundle.path().join("input");
    std::fs::write(&input, params.write_to_bytes().unwrap()).unwrap();
    let mut command = shim.command("start");
    command.env_remove("TTRPC_ADDRESS").stdin(std::fs::File::open(&input).unwrap());
    let answer = BootstrapResult::parse_from_bytes(&output(&mut command)).unwrap();
    assert_eq!((answer.version, answer.protocol.as_str()), (3, "ttrpc"));
    converse(&answer.address).await;
}

#[test]
fn the_shim_describes_itself() {
    let mut command = Command::new(stack::shim());
    let info = RuntimeInfo::parse_from_bytes(&output(command.arg("-info").stdin(Stdio::null()))).unwrap();
    assert_eq!(info.name, "io.containerd.corten.v1");
}

#[test]
fn deleting_a_task_that_never_was_succeeds() {
    let shim = Shim::new();
    assert!(!output(&mut shim.command("delete")).is_empty());
}

#[test]
fn a_hostile_id_is_refused() {
    let shim = Shim::new();
    let mut command = Command::new(stack::shim());
    command.current_dir(shim.bundle.path()).args(["-namespace", "default", "-id", "../../etc", "delete"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not valid"));
}
