//! Several real servers on one PostgreSQL, with real agents: any of them dies, is cut off from the database, or stands still,
//! and nothing is lost, nothing is done twice, and no node is shown wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use testkit::{TestDatabase, run_bounded, wait_for, wait_until};

use crate::clients::{Clients, text};
use crate::server::{Place, Server, free_address};

/// Agents may meet a server first that is not there, and one that stands still keeps them waiting.
const BOUND: Duration = Duration::from_secs(240);

/// Where a PostgreSQL server listens.
#[derive(Clone)]
enum Upstream {
    Tcp(String),
    Unix(PathBuf),
}

/// A wire to the database that can be cut.
struct Wire {
    address: SocketAddr,
    name: String,
    is_cut: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(database: &TestDatabase) -> Self {
        let url = database.url();
        let upstream = match url.split_once("?host=") {
            Some((_, folder)) => Upstream::Unix(Path::new(folder).join(".s.PGSQL.5432")),
            None => Upstream::Tcp(url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned()),
        };
        let user = url.trim_start_matches("postgres://").split('@').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            name: format!("{user} {}", database.name()),
            is_cut: Arc::default(),
            ends: Arc::default(),
        };
        let (is_cut, ends) = (Arc::clone(&wire.is_cut), Arc::clone(&wire.ends));
        // It ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().flatten().filter(|_| !is_cut.load(Ordering::SeqCst)) {
                ends.lock().unwrap().push(client.try_clone().unwrap());
                match &upstream {
                    Upstream::Tcp(address) => {
                        let Ok(server) = TcpStream::connect(address) else { continue };
                        join(client.try_clone().unwrap(), server.try_clone().unwrap());
                        join(server, client);
                    }
                    Upstream::Unix(path) => {
                        let Ok(server) = UnixStream::connect(path) else { continue };
                        join(client.try_clone().unwrap(), server.try_clone().unwrap());
                        join(server, client);
                    }
                }
            }
        });
        wire
    }

    fn url(&self) -> String {
        let (user, name) = self.name.split_once(' ').unwrap();
        format!("postgres://{user}@{}/{name}?sslmode=disable", self.address)
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn join(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    });
}

/// A running agent; its jobs' supervisors outlive it and end by themselves.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn agent(place: &Place, name: &str, servers: &[SocketAddr], activation: &(String, String)) -> Agent {
    let data = place.path().join(name).display().to_string();
    let code = place.path().join("code");
    fs::write(&code, &activation.1).unwrap();
    let code = code.display().to_string();
    let servers: Vec<String> = servers.iter().map(|server| format!("http://{server}")).collect();
    let mut register = vec!["agent", "register", "--data", &data, "--activation-id", &activation.0];
    register.extend(["--activation-code-file", &code]);
    register.extend(servers.iter().flat_map(|server| ["--server", server.as_str()]));
    run_bounded(&mut place.careen(&register), BOUND).unwrap().expect_success("register").unwrap();
    let log = fs::File::create(place.path().join(format!("{name}.log"))).unwrap();
    let mut run = place.careen(&["agent", "run", "--data", &data, "--reconnect-seconds-max", "3"]);
    Agent(run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

/// What the servers stand on, and who watches over what the nodes do.
struct Site<'p> {
    place: &'p Place,
    file: PathBuf,
    commands: Vec<String>,
}

impl Site<'_> {
    /// Lets all nodes append a line to the file, by a command given to this server.
    fn send(&mut self, clients: &Clients) {
        let number = self.commands.len();
        let parameters =
            json!({ "commands": [format!("echo command-{number} >> {}", self.file.display())] }).to_string();
        let all = ["ssm", "send-command", "--document-name", "AWS-RunShellScript", "--parameters", &parameters];
        let targets = ["--targets", "Key=InstanceIds,Values=*"];
        self.commands.push(text(&clients.query("Command.CommandId", &[&all[..], &targets].concat())).to_owned());
    }

    /// Waits until the last command has gone well on both nodes, as this server sees it.
    fn arrives(&self, clients: &Clients, what: &str) {
        let id = self.commands.last().unwrap();
        let ended = wait_until(what, BOUND, || {
            let arguments = ["ssm", "list-command-invocations", "--command-id", id];
            clients.query("CommandInvocations[].Status", &arguments) == json!(["Success", "Success"])
        });
        ended.unwrap_or_else(|error| panic!("{error}: {}", self.logs()));
    }

    fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        format!("one: {}\ntwo: {}", read("one.log"), read("two.log"))
    }

    /// Every command has run once on each node, and never again.
    fn nothing_is_lost_and_nothing_done_twice(&self) {
        let written = fs::read_to_string(&self.file).unwrap();
        for number in 0..self.commands.len() {
            let line = format!("command-{number}");
            assert_eq!(written.lines().filter(|written| **written == line).count(), 2, "{line} in:\n{written}");
        }
    }
}

fn online(clients: &Clients) -> bool {
    let query = "InstanceInformationList[].PingStatus";
    clients.query(query, &["ssm", "describe-instance-information"]) == json!(["Online", "Online"])
}

fn start<'p>(place: &'p Place, address: SocketAddr, wire: &Wire, key: &Path) -> Server<'p> {
    let key = key.display().to_string();
    let variables = [("CAREEN_DATABASE", wire.url())];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    place.start_with_at(address, &["--key-file", &key], &variables).expect("the server starts")
}

#[test]
fn of_two_servers_on_one_database_each_may_die_be_cut_off_or_stand_still() {
    let database = TestDatabase::postgres(None).unwrap();
    let (place, other_place) = (Place::new(), Place::new());
    let (wire, other_wire) = (Wire::to(&database), Wire::to(&database));
    let (address, other_address) = (free_address(), free_address());
    let key = place.path().join("key");
    let first = start(&place, address, &wire, &key);
    let second = start(&other_place, other_address, &other_wire, &key);
    let (one, two) = (first.clients(), second.clients());
    let made = one.aws(&["ssm", "create-activation", "--iam-role", "fleet", "--registration-limit", "2"]);
    let activation = (text(&made["ActivationId"]).to_owned(), text(&made["ActivationCode"]).to_owned());
    let _agents = [
        agent(&place, "one", &[address, other_address], &activation),
        agent(&place, "two", &[other_address, address], &activation),
    ];
    let mut site = Site { place: &place, file: place.path().join("file"), commands: Vec::new() };
    wait_until("both nodes to be online, as either server sees it", BOUND, || online(&one) && online(&two)).unwrap();

    site.send(&one);
    site.arrives(&two, "a command given to the one to reach a node that is connected to the other");

    second.kill();
    site.send(&one);
    site.arrives(&one, "the nodes of a server that was killed to come to the other");

    let second = start(&other_place, other_address, &other_wire, &key);
    wire.cut();
    wait_for("the server without a database to say so", BOUND, || {
        first.get("/readyz").filter(|answer| !answer.starts_with("HTTP/1.1 200"))
    })
    .unwrap();
    site.send(&two);
    site.arrives(&two, "the nodes of a server that is cut off to come to the other");
    wire.mend();
    wait_until("the server to be well again by itself", BOUND, || online(&one)).unwrap();

    second.pause();
    site.send(&one);
    // Longer than until it counts as gone; what is sent to it meanwhile waits in its sockets.
    wait_for("the paused server to count as gone", BOUND, || {
        let row = "SELECT count(*) FROM replica WHERE seen_at < (SELECT max(seen_at) - 7000000 FROM replica)";
        let mut psql = std::process::Command::new("psql");
        psql.args(["--tuples-only", "--no-align", "--command", row, &database.url()]);
        let counted = run_bounded(&mut psql, BOUND).unwrap().expect_success("psql").unwrap();
        counted.trim().parse::<u32>().ok().filter(|gone| *gone > 0)
    })
    .unwrap();
    second.resume();
    site.arrives(&two, "a command to arrive although a server stood still");

    wait_until("both servers to agree that all is well", BOUND, || online(&one) && online(&two)).unwrap();
    site.nothing_is_lost_and_nothing_done_twice();
    first.stop();
    second.stop();
}
