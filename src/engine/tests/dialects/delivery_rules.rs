//! Table 5: delivery rules.

use hyper::header::AUTHORIZATION;

use super::*;
use crate::domain::{Exhausted, Ordering, RetryAfter};

/// What a column of the table says. What it does not say (–) has no test there.
struct Rules {
    dialect: &'static str,
    /// Whether an answer that is no success is tried again.
    retried: fn(u16) -> bool,
    /// What is waited before each retry, in seconds.
    waits: &'static [u64],
    /// By how much of it a wait may differ.
    jitter: f64,
}

const COST_KATANA: Rules = Rules {
    dialect: "cost-katana",
    retried: |status| status >= 500,
    waits: &[5, 10, 20, 40, 80],
    jitter: 0.0,
};
const OPS_CENTER: Rules =
    Rules { dialect: "ops-center", retried: |_| true, waits: &[60, 300, 900, 3600, 7200], jitter: 0.0 };
const LLM_OPTIMIZER: Rules = Rules {
    dialect: "llm-optimizer",
    retried: |status| matches!(status, 408 | 429 | 500..),
    waits: &[1, 2, 4, 8],
    jitter: 0.1,
};
const DCISION: Rules = Rules { dialect: "dcision", retried: |_| true, waits: &[1, 2], jitter: 0.0 };

impl Rules {
    /// A plan with one target, which has these keys besides.
    fn plan(&self, keys: &str) -> Arc<Plan> {
        let dialect = self.dialect;
        Arc::new(load(&format!(
            "{SOURCE}targets: {{ crm: {{ url: 'https://x.example/', dialect: {dialect}, secrets: [a-plain-secret]{keys} }} }}
routes: [{{ name: all, to: [crm] }}]"
        )))
    }
}

impl Desk {
    /// An event from the consumer that reads for the only target.
    fn arrive_for_it(&mut self, position: i64, priority: Option<i16>) {
        let consumer = match self.engine.plan.targets[0].ordering {
            Ordering::None => CONSUMER,
            Ordering::ByKey | Ordering::Strict => ConsumerId(1),
        };
        let event = Event { priority, ..event(position, Some("cost.alert")) };
        let receipt = Receipt { consumer, generation: FIRST, position };
        self.engine.handle(Input::Arrived { event: Arc::new(event), receipt }, self.now);
    }

    /// Lets time pass until something is due.
    fn pass(&mut self) {
        let due_us = self.engine.next_deadline_us().expect("something is due");
        self.wait(Duration::from_micros(due_us.saturating_sub(self.now.mono_us)));
    }

    /// What comes of one delivery whose first attempt is answered so: `None` if it is tried again.
    fn outcome(&mut self, reply: Reply) -> Option<Command> {
        self.arrive_for_it(0, None);
        let attempt = self.only_attempt();
        self.answer(&attempt, reply);
        let mut ended = self.commands();
        ended.retain(|command| matches!(command, Command::DeadLetter { .. } | Command::Settle(_)));
        ended.pop()
    }
}

/// Each answer and fault, and what comes of it; a plan is read once for all.
fn outcomes(rules: &Rules, replies: impl IntoIterator<Item = Reply>) -> Vec<(Reply, Option<Command>)> {
    let plan = rules.plan("");
    replies.into_iter().map(|reply| (reply.clone(), Desk::of(&plan, 1).outcome(reply))).collect()
}

fn fault(fault: Fault) -> Reply {
    Reply::Fault { fault, detail: "x".into() }
}

fn success(rules: &Rules) {
    for (reply, outcome) in outcomes(rules, (200..300).map(status)) {
        assert!(matches!(outcome, Some(Command::Settle(_))), "{reply:?}: {outcome:?}");
    }
}

fn retried(rules: &Rules) {
    let statuses = (300..600).filter(|status| (rules.retried)(*status)).map(status);
    let faults = [Fault::Network, Fault::Dns, Fault::Tls, Fault::Timeout].map(fault);
    for (reply, outcome) in outcomes(rules, statuses.chain(faults)) {
        assert!(outcome.is_none(), "{reply:?}: {outcome:?}");
    }
}

fn not_retried(rules: &Rules) {
    let statuses: Vec<Reply> = (300..600).filter(|status| !(rules.retried)(*status)).map(status).collect();
    assert!(statuses.contains(&status(404)));
    for (reply, outcome) in outcomes(rules, statuses) {
        let Some(Command::DeadLetter { letter, .. }) = outcome else { panic!("{reply:?}: {outcome:?}") };
        assert_eq!(letter.reason, DeadLetterReason::Rejected, "{reply:?}");
    }
}

/// Lets one delivery fail until it is given up: what was waited before each attempt, in seconds, whether
/// in memory or in a tier; and its dead letter.
fn fails(plan: &Arc<Plan>, seed: u64) -> (Vec<f64>, DeadLetter) {
    let mut desk = Desk::of(plan, seed);
    desk.arrive_for_it(0, None);
    let (mut waits, mut failed_ms) = (Vec::new(), None);
    loop {
        let commands = desk.commands();
        if commands.is_empty() {
            desk.pass();
        }
        for command in commands {
            match command {
                Command::Attempt(attempt) => {
                    waits.extend(failed_ms.map(|failed_ms| (desk.now.wall_ms - failed_ms) as f64 / 1000.0));
                    failed_ms = Some(desk.now.wall_ms);
                    desk.answer(&attempt, status(500));
                }
                Command::Move { write, moved } => {
                    desk.stored(write, Ok(()));
                    let left_ms = moved.waiting.due_ms - desk.now.wall_ms;
                    desk.wait(Duration::from_millis(left_ms.try_into().expect("it is due later")));
                    desk.resume(&moved, 0);
                }
                Command::DeadLetter { letter, .. } => return (waits, *letter),
                Command::Settle(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn schedule(rules: &Rules) {
    let plan = rules.plan("");
    let all: Vec<Vec<f64>> = (0..20).map(|seed| fails(&plan, seed).0).collect();
    for waits in &all {
        assert_eq!(waits.len(), rules.waits.len());
        for (waited, wait) in waits.iter().zip(rules.waits) {
            let (wait, rounded) = (*wait as f64, 0.001);
            assert!((waited - wait).abs() <= wait * rules.jitter + rounded, "{waits:?}");
        }
    }
    assert_eq!(all.iter().all(|waits| *waits == all[0]), rules.jitter == 0.0, "{all:?}");
}

fn timeout(rules: &Rules) {
    assert_eq!(rules.plan("").targets[0].timeout, Duration::from_secs(30));
    assert_eq!(rules.plan(", timeout: 7s").targets[0].timeout, Duration::from_secs(7));
}

/// It is in the dead letters, from where it can be redriven (`tests/integration/redrive.rs`), one by one
/// or by age, and purged.
fn exhausted(rules: &Rules) {
    let plan = rules.plan("");
    assert_eq!(plan.targets[0].retry.on_exhausted, Exhausted::DeadLetter);
    let (_, letter) = fails(&plan, 1);
    assert_eq!((letter.reason, letter.target), (DeadLetterReason::Exhausted, Some(TargetId(0))));
    assert_eq!(letter.attempts as usize, rules.waits.len() + 1);
}

/// One test for each row of a system's column.
macro_rules! rows {
    ($($system:ident = $rules:ident: $($row:ident),+;)+) => {$(
        mod $system {
            $(
                #[test]
                fn $row() {
                    super::$row(&super::$rules);
                }
            )+
        }
    )+};
}

rows! {
    cost_katana = COST_KATANA: success, retried, not_retried, schedule, timeout, exhausted;
    ops_center = OPS_CENTER: success, retried, schedule, timeout, exhausted;
    llm_optimizer = LLM_OPTIMIZER: success, retried, not_retried, schedule, timeout, exhausted;
    dcision = DCISION: success, retried, schedule, exhausted;
}

/// When each of so many deliveries that come at once is attempted, in seconds; all succeed.
fn attempted(desk: &mut Desk, count: i64) -> Vec<f64> {
    let start_us = desk.now.mono_us;
    (0..count).for_each(|position| desk.arrive_for_it(position, None));
    let mut times = Vec::new();
    while times.len() < count as usize {
        let commands = desk.commands();
        if commands.is_empty() {
            desk.pass();
        }
        for command in commands {
            if let Command::Attempt(attempt) = command {
                times.push((desk.now.mono_us - start_us) as f64 / 1e6);
                desk.answer(&attempt, status(200));
            }
        }
    }
    times
}

#[test]
fn cost_katana_limits() {
    let times = attempted(&mut Desk::of(&COST_KATANA.plan(""), 1), 301);
    for (index, pair) in times.windows(101).enumerate() {
        assert!(pair[100] - pair[0] >= 59.999, "101 attempts in a minute, from number {index} on");
    }
    assert!((times[300] - 180.0).abs() < 0.1, "and no fewer than a hundred: {}", times[300]);
}

/// The request of one event to the only target of a plan.
fn request(plan: &Plan) -> crate::wire::Request {
    let body = br#"{"event_id":"e","type":"cost.alert","data":{"title":"t"}}"#;
    let event = Sample { body, ..Sample::default() }.read(plan, &plan.sources[0]);
    plan.targets[0].blueprint.render(&event, 1, 0).expect("a request")
}

/// Its fifth kind is to have none.
#[test]
fn cost_katana_auth() {
    let header = |auth: &str, name: &str| {
        let request = request(&COST_KATANA.plan(auth));
        assert!(request.headers.contains_key("x-costkatana-signature"), "it is signed all the same");
        request.headers.get(name).map(|value| value.to_str().expect("text").to_owned())
    };
    let authorization = AUTHORIZATION.as_str();
    assert_eq!(header("", authorization), None);
    let basic = header(", auth: { basic: { username: u, password: p } }", authorization);
    assert_eq!(basic.as_deref(), Some("Basic dTpw"));
    assert_eq!(header(", auth: { bearer: abc }", authorization).as_deref(), Some("Bearer abc"));
    assert_eq!(header(", auth: { header: { X-Api-Key: k } }", "x-api-key").as_deref(), Some("k"));
    let oauth2 = "auth: { oauth2: { token_url: 'https://t.example/', client_id: c, client_secret: s } }";
    assert!(COST_KATANA.plan(&format!(", {oauth2}")).targets[0].oauth2.is_some());
}

/// Its custom headers are a target's `headers`.
#[test]
fn llm_optimizer_auth() {
    let request = request(&LLM_OPTIMIZER.plan(", headers: { X-Team: ops, X-Api-Key: k }"));
    assert_eq!(
        (&request.headers["x-team"], &request.headers["x-api-key"]),
        (&"ops".parse().unwrap(), &"k".parse().unwrap())
    );
    assert!(request.headers.contains_key("x-webhook-signature"));
}

#[test]
fn llm_optimizer_limits_a_token_bucket() {
    let times = attempted(&mut Desk::of(&LLM_OPTIMIZER.plan(""), 1), 70);
    assert!(times[..20].iter().all(|time| *time == 0.0), "a burst of 20");
    for (index, time) in times[20..].iter().enumerate() {
        let due = (index + 1) as f64 / 10.0;
        assert!((time - due).abs() < 0.002, "then ten a second: {times:?}");
    }
    let times = attempted(&mut Desk::of(&LLM_OPTIMIZER.plan(", rate: off"), 1), 70);
    assert!(times.iter().all(|time| *time == 0.0), "it can be switched off: {times:?}");
}

#[test]
fn llm_optimizer_limits_ten_at_once() {
    let mut desk = Desk::of(&LLM_OPTIMIZER.plan(", rate: off"), 1);
    (0..30).for_each(|position| desk.arrive_for_it(position, None));
    let attempts = desk.attempts();
    assert_eq!(attempts.len(), 10);
    attempts.iter().for_each(|attempt| desk.answer(attempt, status(200)));
    let more = desk.commands().iter().filter(|command| matches!(command, Command::Attempt(_))).count();
    assert_eq!(more, 10);
}

#[test]
fn llm_optimizer_limits_a_priority_queue() {
    let mut desk = Desk::of(&LLM_OPTIMIZER.plan(", concurrency: 1"), 1);
    for (position, priority) in [None, Some(-5), None, Some(5), Some(9)].into_iter().enumerate() {
        desk.arrive_for_it(position as i64, priority);
    }
    let mut order = Vec::new();
    while order.len() < 5 {
        for command in desk.commands() {
            if let Command::Attempt(attempt) = command {
                order.push(attempt.event.origin.position);
                desk.answer(&attempt, status(200));
            }
        }
    }
    assert_eq!(order, [4, 3, 0, 2, 1], "the highest first, 0 where nothing is said");
}

/// `Retry-After` counts, and makes no wait shorter.
#[test]
fn llm_optimizer_retried_honours_retry_after() {
    for (dialect, wait) in [(LLM_OPTIMIZER, 30.0), (COST_KATANA, 5.0), (OPS_CENTER, 60.0), (DCISION, 1.0)] {
        let mut desk = Desk::of(&dialect.plan(""), 1);
        desk.arrive_for_it(0, None);
        let attempt = desk.only_attempt();
        let asked = Some(RetryAfter::Seconds(30));
        desk.answer(&attempt, Reply::Status { status: 503, retry_after: asked });
        let failed_ms = desk.now.wall_ms;
        let due_ms = loop {
            match desk.commands().pop() {
                Some(Command::Attempt(_)) => break desk.now.wall_ms,
                Some(Command::Move { moved, .. }) => break moved.waiting.due_ms,
                _ => desk.pass(),
            }
        };
        assert_eq!((due_ms - failed_ms) as f64 / 1000.0, wait, "{}", dialect.dialect);
    }
}

#[test]
fn dcision_limits_in_order_one_at_a_time() {
    let mut desk = Desk::of(&DCISION.plan(""), 1);
    (0..3).for_each(|position| desk.arrive_for_it(position, None));
    let first = desk.only_attempt();
    desk.answer(&first, status(500));
    let mut order = vec![first.event.origin.position];
    while order.len() < 4 {
        let commands = desk.commands();
        if commands.is_empty() {
            desk.pass();
        }
        let attempts: Vec<Attempt> = commands
            .into_iter()
            .filter_map(|command| match command {
                Command::Attempt(attempt) => Some(attempt),
                _ => None,
            })
            .collect();
        assert!(attempts.len() <= 1, "{attempts:?}");
        for attempt in attempts {
            order.push(attempt.event.origin.position);
            desk.answer(&attempt, status(200));
        }
    }
    assert_eq!(order, [0, 0, 1, 2], "what failed is tried again before the next one");
}
