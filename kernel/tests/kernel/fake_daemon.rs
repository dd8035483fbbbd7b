//! A daemon without models that speaks the real protocol, from the real protocol crate: it answers what the kernel's
//! tests need, with figures of its own, and can be slow or break off when told to.

use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hotplate_protocol::feed::{Fed, FedExample, FedPlace, FeedEnd};
use hotplate_protocol::knobs::Method;
use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::{AdapterInfo, Adapters, VersionFiles, VersionInfo};
use hotplate_protocol::methods::check::{
    Check, CheckParams, CheckResult, ExampleState, Finding, ListedExample,
};
use hotplate_protocol::methods::delete::{Delete, DeleteResult};
use hotplate_protocol::methods::generate::{FinishReason, Generate, GenerateParams, GenerateResult};
use hotplate_protocol::methods::initialize::{
    Agreed, Initialize, InitializeResult, Mismatch, PeerInfo, ProtocolRange,
};
use hotplate_protocol::methods::models::Models;
use hotplate_protocol::methods::run_attach::{AttachParams, AttachRun};
use hotplate_protocol::methods::run_cancel::CancelRun;
use hotplate_protocol::methods::status::{
    RunState, RunStatus, Status, StatusResult, WatchMethod, WatchStatus,
};
use hotplate_protocol::methods::train::{Train, TrainResult};
use hotplate_protocol::notifications::{
    Cancel, GenerateDelta, GenerateDeltaParams, RunEventNotification, RunEventParams,
};
use hotplate_protocol::run::{Cause, Plan, RunEvent, RunId, RunKind, RunResult};
use hotplate_protocol::{
    ErrorCode, Id, Message, Notification, NotificationKind, Request, RequestKind, Response, RpcError,
    read_frame, write_frame,
};
use serde_json::json;

const TOKEN_TIME: Duration = Duration::from_millis(5);
const RUN: RunId = RunId(7);
const STEPS: usize = 150;

/// Listens in a home. Asked to generate "forever", it writes until it is cancelled; asked for models, it breaks the
/// connection.
pub(crate) struct FakeDaemon {
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) run_cancelled: Arc<AtomicUsize>,
    pub(crate) deleted: Arc<AtomicUsize>,
    /// The seeds that texts were asked for with, in order.
    pub(crate) asked: Arc<Mutex<Vec<GenerateParams>>>,
    watched: Arc<Mutex<Option<PathBuf>>>,
    socket: PathBuf,
}

#[derive(Clone)]
struct Session {
    out: Arc<Mutex<UnixStream>>,
    cancelled: Arc<Mutex<Vec<Id>>>,
    run_cancelled: Arc<AtomicUsize>,
    deleted: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<GenerateParams>>>,
    watched: Arc<Mutex<Option<PathBuf>>>,
    /// What has happened in the run, for those who come later.
    past: Arc<Mutex<Vec<RunEvent>>>,
    speaks: Speaks,
}

#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Ours,
    Another,
}

impl FakeDaemon {
    pub(crate) fn start(home: &Path) -> FakeDaemon {
        FakeDaemon::speaking(home, Speaks::Ours)
    }

    /// It refuses every session, as a daemon of another version does.
    pub(crate) fn start_of_another_version(home: &Path) -> FakeDaemon {
        FakeDaemon::speaking(home, Speaks::Another)
    }

    fn speaking(home: &Path, speaks: Speaks) -> FakeDaemon {
        let socket = home.join("daemon.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let run_cancelled = Arc::new(AtomicUsize::new(0));
        let deleted = Arc::new(AtomicUsize::new(0));
        let asked = Arc::<Mutex<Vec<GenerateParams>>>::default();
        let watched = Arc::<Mutex<Option<PathBuf>>>::default();
        let fresh = {
            let (run_cancelled, asked, watched) =
                (Arc::clone(&run_cancelled), Arc::clone(&asked), Arc::clone(&watched));
            let deleted = Arc::clone(&deleted);
            let past = Arc::<Mutex<Vec<RunEvent>>>::default();
            move |stream: &UnixStream| Session {
                out: Arc::new(Mutex::new(stream.try_clone().unwrap())),
                cancelled: Arc::default(),
                run_cancelled: Arc::clone(&run_cancelled),
                deleted: Arc::clone(&deleted),
                asked: Arc::clone(&asked),
                watched: Arc::clone(&watched),
                past: Arc::clone(&past),
                speaks,
            }
        };
        let counting = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                counting.fetch_add(1, Ordering::SeqCst);
                let session = fresh(&stream);
                thread::spawn(move || session.serve(stream));
            }
        });
        FakeDaemon { connections, run_cancelled, deleted, asked, watched, socket }
    }

    /// From now on this folder counts as watched.
    pub(crate) fn watch(&self, folder: &Path) {
        *self.watched.lock().unwrap() = Some(folder.canonicalize().unwrap());
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Session {
    fn serve(self, stream: UnixStream) {
        let mut reader = BufReader::new(stream);
        while let Ok(Some(body)) = read_frame(&mut reader) {
            match Message::parse(&body).unwrap() {
                Message::Notification(notification) => {
                    if let Some(cancel) = notification.parse::<Cancel>() {
                        self.cancelled.lock().unwrap().push(cancel.unwrap().id);
                    }
                }
                Message::Request(request) if request.method == Models::METHOD => {
                    self.out.lock().unwrap().shutdown(std::net::Shutdown::Both).unwrap();
                    return;
                }
                Message::Request(request) => {
                    let session = self.clone();
                    thread::spawn(move || session.answer(request));
                }
                Message::Response(response) => panic!("unasked: {response:?}"),
            }
        }
    }

    fn send(&self, message: &Message) {
        // The kernel may have gone.
        let _ = write_frame(&mut *self.out.lock().unwrap(), &message.to_bytes());
    }

    fn notify<N: NotificationKind>(&self, params: &N::Params) {
        self.send(&Message::Notification(Notification::new::<N>(params)));
    }

    fn reply<R: RequestKind>(&self, id: Id, result: &R::Result) {
        self.send(&Message::Response(Response::ok(id, result)));
    }

    fn refuse(&self, id: Id, code: ErrorCode, message: &str) {
        self.send(&Message::Response(Response::failed(Some(id), RpcError::new(code, message))));
    }

    fn answer(&self, Request { id, method, params }: Request) {
        match method.as_str() {
            Initialize::METHOD if self.speaks == Speaks::Another => {
                let range = |version| ProtocolRange { min: version, max: version };
                let mismatch = Mismatch {
                    daemon: range(99),
                    client: range(1),
                    daemon_version: "9.9".into(),
                    remedy: "restart it with: hotplate stop".into(),
                };
                let mut error = RpcError::new(ErrorCode::ProtocolMismatch, "other versions");
                error.data = Some(serde_json::to_value(mismatch).unwrap());
                self.send(&Message::Response(Response::failed(Some(id), error)));
            }
            Initialize::METHOD => self.reply::<Initialize>(
                id,
                &InitializeResult {
                    server_info: PeerInfo { name: "fake".into(), version: "0".into() },
                    capabilities: json!({}),
                    hotplate: Agreed { protocol: 1, pid: std::process::id() },
                },
            ),
            Check::METHOD => self.check(id, serde_json::from_value(params).unwrap()),
            Generate::METHOD => self.generate(id, serde_json::from_value(params).unwrap()),
            Adapters::METHOD => self.reply::<Adapters>(id, &vec![adapter("notes"), adapter("面包店")]),
            Train::METHOD => self.train(id),
            Status::METHOD => self.status(id),
            AttachRun::METHOD => self.attach(id, serde_json::from_value(params).unwrap()),
            CancelRun::METHOD => {
                self.run_cancelled.fetch_add(1, Ordering::SeqCst);
                self.reply::<CancelRun>(id, &Nothing {});
            }
            Delete::METHOD => {
                self.deleted.fetch_add(1, Ordering::SeqCst);
                self.reply::<Delete>(
                    id,
                    &DeleteResult {
                        adapter: "notes".into(),
                        versions: vec![1],
                        whole: false,
                        record_stays: false,
                        bytes: 1,
                        deleted: true,
                    },
                );
            }
            other => self.refuse(id, ErrorCode::MethodNotFound, &format!("{other} is not faked")),
        }
    }

    fn check(&self, id: Id, CheckParams { folder, list, .. }: CheckParams) {
        if !folder.is_dir() {
            let message =
                format!("there is no folder {}; see what is there with: hotplate status", folder.display());
            return self.refuse(id, ErrorCode::NotFound, &message);
        }
        self.reply::<Check>(
            id,
            &CheckResult {
                folder,
                files: 1,
                examples: 2,
                train_examples: 1,
                heldout_examples: 1,
                tokens: 20,
                longest_tokens: 12,
                shortest_tokens: 12,
                median_tokens: 12,
                truncated_examples: 0,
                kinds: Vec::new(),
                settings: Vec::new(),
                listed: if list { vec![example()] } else { Vec::new() },
                rehearsed: Vec::new(),
                findings: vec![Finding {
                    code: "HP001".into(),
                    name: "empty".into(),
                    file: "<b>.txt".into(),
                    lines: (1, 1),
                    column: None,
                    message: "nothing in it".into(),
                    remedy: "Write something.".into(),
                    skipped: true,
                }],
            },
        );
    }

    fn generate(&self, id: Id, params: GenerateParams) {
        self.asked.lock().unwrap().push(params.clone());
        let forever = params.prompt.contains("forever");
        let pieces: Vec<String> = params
            .prompt
            .split_inclusive(' ')
            .map(str::to_owned)
            .cycle()
            .take(if forever { 100_000 } else { 30 })
            .collect();
        for piece in &pieces {
            if self.cancelled.lock().unwrap().contains(&id) {
                return self.refuse(id, ErrorCode::RequestCancelled, "cancelled");
            }
            let delta = GenerateDeltaParams { id: id.clone(), text: piece.clone(), token_ids: vec![1] };
            self.notify::<GenerateDelta>(&delta);
            thread::sleep(TOKEN_TIME);
        }
        self.reply::<Generate>(
            id,
            &GenerateResult {
                text: pieces.concat(),
                token_ids: vec![1; pieces.len()],
                finish_reason: FinishReason::Length,
                prompt_tokens: 1,
                seed: params.sampling.seed.unwrap_or(5),
                adapter: params.adapter.filter(|_| !params.base_alone),
                base: "hotplate-tiny".into(),
                fed: params.feed.map(|feed| fed(feed.folder)),
                noticed: Vec::new(),
                first_token_ms: 1.0,
                tokens_per_second: 200.0,
            },
        );
    }

    fn status(&self, id: Id) {
        let running = self.past.lock().unwrap().last().is_some_and(|event| !event.is_last());
        let run = RunStatus {
            run: RUN,
            kind: RunKind::Full,
            folder: "/notes".into(),
            adapter: "notes".into(),
            cause: Cause::Asked,
            state: RunState::Running,
            step: 1,
            steps: STEPS,
            loss: None,
        };
        let watch = |folder: &PathBuf| WatchStatus {
            folder: folder.clone(),
            base: "hotplate-tiny".into(),
            adapter: "notes".into(),
            method: WatchMethod::Native,
            examples: 2,
            findings: 0,
            problem: None,
        };
        self.reply::<Status>(
            id,
            &StatusResult {
                version: "0".into(),
                pid: 1,
                home: "/home".into(),
                uptime_seconds: 1.0,
                device: "cpu".into(),
                processor: "2 threads, AVX2".to_owned(),
                rss_bytes: 1,
                peak_rss_bytes: 1,
                sessions: 1,
                models: Vec::new(),
                runs: if running { vec![run] } else { Vec::new() },
                watches: self.watched.lock().unwrap().iter().map(watch).collect(),
                adapters: Vec::new(),
                generating: 0,
                problems: Vec::new(),
                model_ttl_seconds: 1.0,
                idle_exit_seconds: 1.0,
            },
        );
    }

    /// The run from its beginning; or, without a number, what the next new file in the watched folder begins.
    fn attach(&self, id: Id, params: AttachParams) {
        self.reply::<AttachRun>(id, &Nothing {});
        if params.run.is_some() {
            let mut told = 0;
            loop {
                let event = self.past.lock().unwrap().get(told).cloned();
                let Some(event) = event else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                told += 1;
                let last = event.is_last();
                self.notify::<RunEventNotification>(&RunEventParams { run: RUN, event });
                if last {
                    return;
                }
            }
        }
        let watched = self.watched.lock().unwrap().clone().unwrap();
        let files = || std::fs::read_dir(&watched).unwrap().count();
        let before = files();
        for _ in 0..500 {
            if files() > before {
                return self.run(&Cause::Saved { files: vec!["cell-1.md".into()] });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn train(&self, id: Id) {
        self.reply::<Train>(id, &TrainResult { run: RUN, plan: plan(STEPS) });
        self.run(&Cause::Asked);
    }

    /// 150 steps in about a second and a half.
    fn run(&self, cause: &Cause) {
        self.past.lock().unwrap().clear();
        let send = |event: RunEvent| {
            self.past.lock().unwrap().push(event.clone());
            self.notify::<RunEventNotification>(&RunEventParams { run: RUN, event });
        };
        send(RunEvent::Queued { position: 0 });
        send(RunEvent::Started { plan: plan(STEPS), cause: cause.clone() });
        send(RunEvent::Evaluated { step: 0, heldout_loss: 5.0, best: true, drift: None });
        for step in 1..=STEPS {
            if self.run_cancelled.load(Ordering::SeqCst) > 0 {
                return send(RunEvent::Cancelled);
            }
            thread::sleep(Duration::from_millis(10));
            send(RunEvent::Step {
                step,
                steps: STEPS,
                epoch: 1.0,
                loss: 5.0 - step as f64 / 50.0,
                learning_rate: 1e-3,
                tokens_per_second: 1000.0,
                seconds: 1.0,
                seconds_left: 1.0,
            });
        }
        send(RunEvent::Evaluated { step: STEPS, heldout_loss: 3.0, best: true, drift: None });
        send(RunEvent::Finished { result: result() });
    }
}

fn result() -> RunResult {
    RunResult {
        run: RUN,
        kind: RunKind::Full,
        adapter: "notes".into(),
        version: 1,
        path: "/a/notes/1".into(),
        base_heldout_loss: 5.0,
        heldout_loss_before: 5.0,
        heldout_loss: 3.0,
        new_heldout_loss_before: None,
        new_heldout_loss_after: None,
        train_loss: 2.0,
        train_examples: 1,
        heldout_examples: 1,
        best_step: STEPS,
        steps: STEPS,
        tokens: 1000,
        tokens_per_second: 1000.0,
        seconds: 1.5,
        save_to_swap_seconds: None,
        guard: None,
        reason: None,
        folds: 0,
        futile: None,
        better: None,
        pruned: Vec::new(),
    }
}

fn plan(steps: usize) -> Plan {
    Plan {
        kind: RunKind::Full,
        base: "hotplate-tiny".into(),
        adapter: "notes".into(),
        train_examples: 1,
        heldout_examples: 1,
        replay_examples: 0,
        texts_as_answers: 0,
        rehearsed_answers: 0,
        tokens: 20,
        supervised_tokens: 20,
        epochs: 1,
        steps,
        tokens_per_step: 20,
        learning_rate: 1e-3,
        rank: 16,
        alpha: 16.0,
        trainable_parameters: 1000,
        likely_steps: 0,
        seconds: None,
        seconds_at_most: None,
        memory_bytes: 1_000_000,
        findings: 0,
        settings: Vec::new(),
        folds: 0,
        problem: None,
    }
}

fn fed(folder: PathBuf) -> Fed {
    let place = FedPlace { file: "<b>.txt".into(), line: 3, last_line: 4 };
    Fed {
        folder,
        examples: vec![FedExample { place, tokens: 12 }],
        tokens: 12,
        room: 20,
        of: 5,
        ended: FeedEnd::Room,
        no_room: 2,
        other_system: 0,
        refused: 0,
        itself: None,
    }
}

fn example() -> ListedExample {
    ListedExample {
        id: "a1".into(),
        file: "面包.txt".into(),
        lines: (2, 3),
        tokens: 12,
        state: ExampleState::Learnt,
        run: Some(RUN),
        version: Some(1),
        loss: None,
    }
}

fn adapter(name: &str) -> AdapterInfo {
    AdapterInfo {
        name: name.into(),
        base: "hotplate-tiny".into(),
        folder: None,
        current: 1,
        stale: false,
        versions: vec![VersionInfo {
            version: 1,
            path: "/a/1".into(),
            created: "2026-01-31T09:15:00Z".into(),
            run: RUN,
            kind: RunKind::Full,
            base_heldout_loss: Some(5.0),
            heldout_loss: Some(3.0),
            judged_by: Some("a".into()),
            examples: 1,
            steps: 150,
            seconds: 1.5,
            guard: None,
            method: Method::Lora,
            files: VersionFiles::Whole,
        }],
    }
}
