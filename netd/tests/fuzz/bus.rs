//! Callers who ask netd for anything in any words: every method, with arguments that nearly fit, and with
//! some that do not fit at all.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netd::transaction::Backend;
use netd_api::attach::AttachRequest;
use netd_api::bus::{Config1Proxy, PATH};
use netd_api::descriptor;
use netd_api::generation::ChangeOptions;
use netd_api::state::VlanRange;
use netd_api::table::TableName;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::Serialize;
use zbus::{Connection, DynamicType, Variant};

use crate::common::workload_namespace;
use crate::limits::{Cases, Memory};
use crate::model::Model;
use crate::model::random::{self, Random};
use crate::service::with_service_on;
use crate::{mutation, seeds};

/// Each call is answered within this time, refused or not.
const PATIENCE: Duration = Duration::from_secs(30);
/// Calls between two looks at netd's health.
const ROUND: u64 = 32;
/// Callers at a time.
const CALLERS: usize = 4;
/// Streams of events that each of them keeps open, and never reads.
const STREAMS: usize = 20;

/// What netd and the caller may hold at once, with the names that open streams of events are asked for; and what
/// they may keep in the end: events, and the running document.
const MOST_BYTES: usize = 512 << 20;
const KEPT_BYTES: usize = 16 << 20;

const CONFIG: &str = "org.corten.Netd1.Config1";
const STATE: &str = "org.corten.Netd1.State1";
const EVENTS: &str = "org.corten.Netd1.Events1";
const ATTACH: &str = "org.corten.Netd1.Attach1";
/// Every method there is.
const METHODS: [(&str, &[&str]); 4] = [
    (
        CONFIG,
        &[
            "Validate", "Diff", "Apply", "Confirm", "RollBack", "TakeBack", "Get", "History", "Progress",
            "Status",
        ],
    ),
    (STATE, &["Ports", "Lags", "Interfaces", "Vlans", "Table", "Drift", "Comparison", "Pending"]),
    (EVENTS, &["Watch"]),
    (ATTACH, &["Attach", "Detach"]),
];

/// Panics of any thread; those of tasks would go unseen.
static PANICS: AtomicU32 = AtomicU32::new(0);

/// What callers draw from.
struct Caller {
    random: Random,
    runner: TestRunner,
    documents: BoxedStrategy<Vec<u8>>,
    /// Of this boot: only who names it is told from where it asks on.
    boot_id: String,
    streams: Vec<zbus::OwnedFd>,
    answered: u64,
    refused: u64,
}

/// Calls everything, `calls` times in all unless the environment says otherwise.
pub fn hostile_callers(calls: u64) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
    let documents = seeds::documents();
    let words = seeds::words_of_documents(&documents);
    let stand_in = || Some(Box::new(Model::new(random::bare())) as Box<dyn Backend>);
    with_service_on(stand_in, async |client| {
        every_method_is_known(&client).await;
        let cases = Cases::new("callers", calls);
        let caller = |number: usize| Caller {
            random: Random::new(cases.seed().wrapping_add(number as u64)),
            runner: cases.runner(number as u64, cases.count()),
            documents: mutation::of(&documents, &words).boxed(),
            boot_id: netd::clock::Moment::now().boot_id,
            streams: Vec::new(),
            answered: 0,
            refused: 0,
        };
        let mut callers: [Caller; CALLERS] = std::array::from_fn(caller);
        let memory = Memory::limited(MOST_BYTES, KEPT_BYTES);
        for first in (0..cases.count()).step_by(ROUND as usize) {
            let calls = cases.count().min(first + ROUND) - first;
            // Each waits for its own answers, and none for the others'.
            let [a, b, c, d] = &mut callers;
            let each = calls.div_ceil(CALLERS as u64);
            tokio::join!(
                a.call_often(&client, each),
                b.call_often(&client, each),
                c.call_often(&client, each),
                d.call_often(&client, each)
            );
            let config = Config1Proxy::new(&client).await.unwrap();
            let status = tokio::time::timeout(PATIENCE, config.status()).await;
            status.expect("netd answers in time").expect("netd tells its health");
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something panicked, see above");
            memory.check();
        }
        // netd forgets readers of events once it sees that they are gone.
        callers.iter_mut().for_each(|caller| caller.streams.clear());
        let begun = std::time::Instant::now();
        while memory.kept() >= KEPT_BYTES && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        memory.check_kept();
        let sum = |count: fn(&Caller) -> u64| callers.iter().map(count).sum::<u64>();
        let (answered, refused) = (sum(|caller| caller.answered), sum(|caller| caller.refused));
        println!("{answered} calls answered, {refused} refused");
        assert!(answered + refused >= cases.count(), "not every call was tried");
        let least = cases.count() / 10;
        assert!(answered > least && refused > least, "the calls lead nowhere");
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something panicked, see above");
}

/// A method this file knows nothing of would go untried.
async fn every_method_is_known(client: &Connection) {
    let interface = Some("org.freedesktop.DBus.Introspectable");
    let answer = client.call_method(None::<&str>, PATH, interface, "Introspect", &()).await.unwrap();
    let description: String = answer.body().deserialize().unwrap();
    for part in description.split("<interface name=\"org.corten.Netd1.").skip(1) {
        let (name, rest) = part.split_once('"').unwrap();
        let known =
            METHODS.iter().find(|(interface, _)| interface.ends_with(name)).expect("a known interface").1;
        let methods = rest.split("</interface>").next().unwrap().split("<method name=\"").skip(1);
        let methods: Vec<&str> = methods.map(|method| method.split('"').next().unwrap()).collect();
        assert_eq!(methods, known, "{name}");
    }
}

impl Caller {
    /// Calls, one after the other.
    async fn call_often(&mut self, client: &Connection, times: u64) {
        for _ in 0..times {
            self.call(client).await;
        }
    }

    /// One call of any method.
    async fn call(&mut self, client: &Connection) -> Option<zbus::Message> {
        let (interface, methods) = METHODS[self.below(METHODS.len() as u64) as usize];
        let method = methods[self.below(methods.len() as u64) as usize];
        if self.below(8) == 0 {
            return self.misfit(client, interface, method).await;
        }
        match method {
            "Validate" | "Diff" => {
                let document = self.sent();
                self.send(client, interface, method, &(document,)).await
            }
            "Apply" => {
                let (document, base, timeout) = (self.sent(), self.number(), self.number() as u32);
                if self.below(3) == 0 {
                    let options = self.dictionary();
                    self.send(client, interface, method, &(document, base, timeout, options)).await
                } else {
                    // Most of them as an administrator would send them, so that some are carried out.
                    let (base, timeout) = (0_u64, timeout % 3);
                    self.send(client, interface, method, &(document, base, timeout, self.options())).await
                }
            }
            "Confirm" if self.below(2) == 0 => self.send(client, interface, method, &(self.options(),)).await,
            "Confirm" => {
                let options = self.dictionary();
                self.send(client, interface, method, &(options,)).await
            }
            "TakeBack" => self.send(client, interface, method, &(self.options(),)).await,
            "RollBack" => {
                let number = self.number();
                self.send(client, interface, method, &(number, self.options())).await
            }
            "Get" => {
                let number = self.number();
                self.send(client, interface, method, &(number,)).await
            }
            "Table" => {
                let tables = TableName::ALL;
                let table = match self.below(4) {
                    0 => self.text(),
                    _ => tables[self.below(tables.len() as u64) as usize].as_str().to_owned(),
                };
                let filter = self.filter();
                self.send(client, interface, method, &(table, filter)).await
            }
            "Watch" => self.watch(client).await,
            "Attach" => self.attach(client).await,
            "Detach" => {
                let key = self.key();
                self.send(client, interface, method, &(key,)).await
            }
            _ => self.send(client, interface, method, &()).await,
        }
    }

    /// Arguments of other types than the method has.
    async fn misfit(&mut self, client: &Connection, interface: &str, method: &str) -> Option<zbus::Message> {
        let (number, text, truth) = (self.number(), self.text(), self.below(2) == 0);
        match self.below(7) {
            0 => self.send(client, interface, method, &()).await,
            1 => self.send(client, interface, method, &(number as u8, text)).await,
            2 => self.send(client, interface, method, &(vec![text; number as usize % 500],)).await,
            3 => self.send(client, interface, method, &(Variant::from(text), truth)).await,
            4 => self.send(client, interface, method, &(vec![number as u8; 300_000],)).await,
            5 => self.send(client, interface, method, &(f64::from_bits(number), number as i64, text)).await,
            _ => {
                let dictionary = self.dictionary();
                self.send(client, interface, method, &(dictionary, text, number)).await
            }
        }
    }

    async fn watch(&mut self, client: &Connection) -> Option<zbus::Message> {
        let ports = (0..self.below(20)).map(|_| self.text()).collect::<Vec<_>>();
        // Of a port that there is not, no stream is opened.
        let ports = if self.below(2) == 0 { Vec::new() } else { ports };
        let ports = if self.below(20) == 0 { vec!["swp1".to_owned(); 3000] } else { ports };
        let boot_id = if self.below(2) == 0 { self.boot_id.clone() } else { self.text() };
        let body = (boot_id, self.number(), ports);
        let answer = self.send(client, EVENTS, "Watch", &body).await;
        if let Some(answer) = &answer
            && let Ok(stream) = answer.body().deserialize::<zbus::OwnedFd>()
        {
            self.streams.push(stream);
        }
        if self.streams.len() > STREAMS || self.below(10) == 0 {
            let half = self.streams.len() / 2;
            self.streams.drain(..half);
        }
        answer
    }

    async fn attach(&mut self, client: &Connection) -> Option<zbus::Message> {
        let good = self.below(2) == 0;
        let mut texts = || (0..self.below(4)).map(|_| self.text()).collect::<Vec<_>>();
        let (addresses, gateways) = (texts(), texts());
        let range = VlanRange { first: self.number() as u16, last: self.number() as u16 };
        let request = AttachRequest {
            key: self.key(),
            interface: if good { "eth0".to_owned() } else { self.text() },
            untagged_vlan: if good { 10 } else { self.number() as u16 },
            tagged_vlans: vec![range; if good { 0 } else { self.below(3000) as usize }],
            mac: if good { String::new() } else { self.text() },
            addresses: if good { Vec::new() } else { addresses },
            gateways: if good { Vec::new() } else { gateways },
            mtu_bytes: if good { 0 } else { self.number() as u32 },
        };
        let file = || OwnedFd::from(File::open("/proc/self/status").unwrap());
        let own = || OwnedFd::from(File::open("/proc/self/ns/net").unwrap());
        let (namespace, socket) = workload_namespace();
        let descriptors = match self.below(5) {
            0 => (file(), file()),
            1 => (namespace, file()),
            2 => (own(), socket),
            3 => (socket, namespace),
            _ => (namespace, socket),
        };
        let body = (request, zbus::OwnedFd::from(descriptors.0), zbus::OwnedFd::from(descriptors.1));
        self.send(client, ATTACH, "Attach", &body).await
    }

    /// Sends a call, which must be answered or refused in time.
    async fn send<B: Serialize + DynamicType>(
        &mut self,
        client: &Connection,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Option<zbus::Message> {
        let call = client.call_method(None::<&str>, PATH, Some(interface), method, body);
        let answer = tokio::time::timeout(PATIENCE, call).await;
        match answer.unwrap_or_else(|_| panic!("{interface}.{method}: no answer within {PATIENCE:?}")) {
            Ok(answer) => {
                self.answered += 1;
                Some(answer)
            }
            // A body of the wrong type is refused by the bus's own name for it.
            Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) if !client.is_closed() => {
                self.refused += 1;
                None
            }
            Err(error) => panic!("{interface}.{method}: neither answered nor refused: {error}"),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    /// A document that may even be valid; without zero bytes, which no string of D-Bus has.
    fn document(&mut self) -> String {
        let bytes = self.documents.new_tree(&mut self.runner).expect("a document").current();
        String::from_utf8_lossy(&bytes).replace('\0', "")
    }

    /// A document as it travels, or a descriptor that is none.
    fn sent(&mut self) -> zbus::OwnedFd {
        let descriptor = match self.below(8) {
            0 => OwnedFd::from(
                File::open(["/proc/self/status", "/dev/zero", "/dev/null"][self.below(3) as usize]).unwrap(),
            ),
            1 => {
                let (reader, mut writer) = std::io::pipe().unwrap();
                let document = self.document();
                // Longer than a pipe holds now and then: nobody reads it while it is written.
                std::thread::spawn(move || drop(std::io::Write::write_all(&mut writer, document.as_bytes())));
                reader.into()
            }
            2 => {
                let memory = descriptor::of_text(&self.document()).unwrap();
                drop(std::io::Write::write_all(&mut File::from(memory.try_clone().unwrap()), b"x"));
                memory
            }
            _ => descriptor::of_text(&self.document()).unwrap(),
        };
        descriptor.into()
    }

    /// A short text; a long one now and then.
    fn text(&mut self) -> String {
        let texts = [
            "",
            "swp1",
            "eth0",
            "..",
            "a/b/c",
            "ANY",
            "4c0000000/000",
            "zz",
            "192.0.2.1/24",
            "fe80::1",
            "%s%n",
            "02:00:00:00:00:01",
            "\u{202e}\n\u{7f}",
            "default/web/eth0",
            "ff:ff:ff:ff:ff:ff",
            "::/0",
        ];
        match self.below(12) {
            0 => "x".repeat(self.below(200_000) as usize),
            1 => self.document(),
            _ => texts[self.below(texts.len() as u64) as usize].to_owned(),
        }
    }

    fn key(&mut self) -> String {
        match self.below(3) {
            0 => self.text(),
            _ => format!("default/web{}/eth0", self.below(4)),
        }
    }

    fn number(&mut self) -> u64 {
        let numbers = [0, 1, 2, 3, 4, 5, 10, 255, 4094, 4095, 65_535, u64::from(u32::MAX), 1 << 63, u64::MAX];
        match self.below(4) {
            0 => self.random.below(u64::MAX),
            _ => numbers[self.below(numbers.len() as u64) as usize],
        }
    }

    /// Options as they should be.
    fn options(&self) -> ChangeOptions {
        ChangeOptions::default()
    }

    /// A filter of a table, that may fit it.
    fn filter(&mut self) -> HashMap<String, Variant<'static>> {
        let texts = |caller: &mut Caller| Variant::from(vec![caller.text(); caller.below(4) as usize]);
        let mut filter = HashMap::new();
        match self.below(4) {
            0 => return self.dictionary(),
            1 => {
                filter.insert("addresses".to_owned(), texts(self));
            }
            2 => {
                filter.insert("vlan_id".to_owned(), Variant::from(self.number() as u16));
                filter.insert("interfaces".to_owned(), texts(self));
            }
            _ => {}
        }
        filter
    }

    /// Options as they should not be.
    fn dictionary(&mut self) -> HashMap<String, Variant<'static>> {
        let keys = ["comment", "key_fingerprint", "force", "confirm_timeout_s", "if_same", ""];
        (0..self.below(4))
            .map(|_| {
                let key = keys[self.below(keys.len() as u64) as usize].to_owned();
                let value = match self.below(4) {
                    0 => Variant::from(self.number()),
                    1 => Variant::from(vec![self.text(); 3]),
                    2 => Variant::from(self.below(2) == 0),
                    _ => Variant::from(self.text()),
                };
                (key, value)
            })
            .collect()
    }
}
