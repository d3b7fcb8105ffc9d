//! The poll thread: reads records, lets the pipeline work on them, and commits what its ledgers allow.
//!
//! Guarantees that it never waits for anybody: offsets are asked for by the scout, requests are sent by the delivery,
//! dead letters are written by their own thread, and a rebalance is answered when its turn comes. It sleeps only when
//! there is nothing to read, and any message wakes it. Ends when the drain is done, or at once when abandoned.

mod assignment;
mod place;
mod ranges;
mod reading;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use self::ranges::Ranges;
use self::reading::Few;
use crate::clock::{Clock, Now};
use crate::dead_letter::Letters;
use crate::delivery::{Answered, Delivery};
use crate::keys::Keys;
use crate::metrics::report::Report;
use crate::pipeline::{Action, Pipeline};
use crate::source::backlog::Backlog;
use crate::source::doubt::Doubts;
use crate::source::group::{Group, TopicPartition, list};
use crate::source::raw;
use crate::source::raw::intake::Intake;
use crate::source::scout::{Finding, Question};
use crate::source::sweeper::Sweeper;
use crate::status::Status;

/// Commits go out this often, unchanged ones too: they also prove that we are still in the group.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Sooner, but not more often than this, when much has been settled meanwhile.
const COMMIT_SOONEST: Duration = Duration::from_millis(100);
/// How long open calls of a revoked partition are waited for.
const REVOKE_DRAIN: Duration = Duration::from_secs(5);
/// How often the books are checked.
const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// The longest sleep: what librdkafka has to say beside records is heard at least this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// What wakes the poll thread.
#[derive(Debug)]
pub enum Message {
    /// A request came back.
    Answered(Answered),
    /// A dead letter was acknowledged.
    LetterWritten(u64),
    /// The scout found something out.
    Found(Finding),
    /// An account's keys were read, current first.
    Keys(u32, Keys),
    /// Somebody wants to know how it goes.
    Report(Sender<Report>),
    /// There is something to poll.
    Kafka,
    /// Stop reading, settle what is open, end.
    Drain,
    /// End now.
    Abandon,
}

/// How the poll thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything that could be settled is.
    Drained,
    /// It was told to stop before that.
    Abandoned,
    /// Kafka fenced us off; only a new process can go on.
    Fatal,
}

/// The thread.
pub struct Poller {
    /// What was read; before the consumer, because it gives its messages back when it ends.
    pub intake: Intake<Group>,
    /// The consumer; the scout has the other reference.
    pub consumer: Arc<BaseConsumer<Group>>,
    /// Reads again for deferred accounts.
    pub sweeper: Sweeper,
    /// The core.
    pub pipeline: Pipeline,
    /// What wakes it.
    pub inbox: Receiver<Message>,
    /// For the scout.
    pub questions: Sender<Question>,
    /// Requests.
    pub delivery: Delivery,
    /// Dead letters.
    pub letters: Letters,
    /// For probes.
    pub status: Arc<Status>,
    /// Both clocks.
    pub clock: Clock,
    /// How long membership is taken as proven after a commit.
    pub proof: Duration,
    /// The state that is the thread's own.
    pub state: State,
}

/// What the poll thread remembers between two turns.
#[derive(Debug, Default)]
pub struct State {
    cluster: String,
    /// The assignment that the scout is asked about.
    assignment: u64,
    pending: Option<Vec<TopicPartition>>,
    revoking: Vec<(Vec<TopicPartition>, Duration)>,
    next_commit: Duration,
    /// When the commits that are not answered yet were sent.
    commits_sent: std::collections::VecDeque<Duration>,
    proven: Duration,
    /// Said, and not yet taken back.
    unproven: bool,
    draining: bool,
    ranges: Ranges,
    doubts: Doubts,
    /// Whose message was taken last, of this batch: its mark, and its partition's slot.
    last_place: Option<((usize, i32), u32)>,
    few: Few,
    actions: Vec<Action>,
    first_join: Option<i64>,
    pub(crate) backlog: Backlog,
    /// Commits whose metadata had no room for everything.
    pub cut: u64,
    /// Offsets that the topic dropped while they were owed.
    pub expired: u64,
    /// Assignments.
    pub rebalances: u64,
    /// Times that two snapshots agreed on a difference.
    pub imbalances: u64,
    next_audit: Duration,
    last_differences: Vec<i128>,
}

impl State {
    /// Whether the group waits to hear from us: what would be placed now would be taken for the answer.
    fn owes_an_answer(&self) -> bool {
        !self.revoking.is_empty() || self.pending.is_some()
    }
}

impl Poller {
    /// Runs until drained or abandoned. The consumer leaves the group when the poller is dropped.
    pub fn run(&mut self) -> End {
        let end = loop {
            let now = self.clock.now();
            self.status.tick();
            self.prove_membership(now);
            if self.state.draining && self.is_drained() {
                break End::Drained;
            }
            let Ok(mut idle) = self.read(now) else { break End::Fatal };
            idle &= self.read_again();
            for event in self.consumer.context().take() {
                idle = false;
                self.group_event(self.clock.now(), event);
            }
            let now = self.clock.now();
            self.pipeline.tick(now);
            self.end_revocations(now);
            self.commit_if_due(now);
            self.ask_again_if_due(now);
            self.audit_if_due(now);
            self.act();
            match self.listen(now, idle) {
                None => {}
                Some(end) => break end,
            }
        };
        self.finish(end);
        end
    }

    /// Hands every message of the inbox on; sleeps first if there is nothing else to do.
    fn listen(&mut self, now: Now, idle: bool) -> Option<End> {
        let mut next = if idle {
            let wake = self.pipeline.next_tick().map_or(LONGEST_SLEEP, |at| at.saturating_sub(now.mono));
            match self.inbox.recv_timeout(wake.min(LONGEST_SLEEP)) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Some(End::Abandoned),
            }
        } else {
            self.inbox.try_recv().ok()
        };
        while let Some(message) = next {
            if let Some(end) = self.message(message) {
                return Some(end);
            }
            next = match self.inbox.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return Some(End::Abandoned),
            };
        }
        self.act();
        None
    }

    fn message(&mut self, message: Message) -> Option<End> {
        let now = self.clock.now();
        match message {
            Message::Answered(Answered { flight, result }) => {
                let answer = result.as_ref().map(crate::delivery::answer).map_err(Clone::clone);
                self.pipeline.answered(now, flight, answer);
            }
            Message::LetterWritten(id) => self.pipeline.letter_written(id),
            Message::Found(finding) => self.found(now, finding),
            Message::Keys(lane, keys) => self.pipeline.set_keys(now, lane, &keys),
            Message::Report(to) => {
                // Whoever asked may have stopped waiting.
                let _gone = to.send(Report::new(now, &self.pipeline, &self.state));
            }
            Message::Kafka => {}
            Message::Drain => self.begin_drain(now),
            Message::Abandon => return Some(End::Abandoned),
        }
        None
    }

    // === Commits ===

    fn commit_if_due(&mut self, now: Now) {
        let early = now.mono + COMMIT_EVERY >= self.state.next_commit + COMMIT_SOONEST;
        if now.mono >= self.state.next_commit || (early && self.pipeline.commits_are_wanted()) {
            self.state.next_commit = now.mono + COMMIT_EVERY;
            self.commit(now, None, CommitMode::Async);
        }
    }

    fn commit(&mut self, now: Now, only: Option<&[u32]>, mode: CommitMode) {
        let commits = self.pipeline.commits(now, &self.state.cluster, only);
        if commits.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::with_capacity(commits.len());
        for commit in &commits {
            self.state.cut += u64::from(commit.cut);
            let mut element = offsets.add_partition(commit.topic, commit.partition);
            element.set_metadata(&commit.metadata);
            if let Err(error) = element.set_offset(Offset::Offset(commit.offset)) {
                tracing::error!(%error, offset = commit.offset, "failed to note an offset");
            }
        }
        let done = match mode {
            CommitMode::Async => raw::commit(&self.consumer, &offsets),
            CommitMode::Sync => self.consumer.commit(&offsets, mode),
        };
        match done {
            Ok(()) if matches!(mode, CommitMode::Async) => self.state.commits_sent.push_back(now.mono),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "failed to commit"),
        }
    }

    /// No new request begins when it is not proven that the partitions are still ours.
    fn prove_membership(&mut self, now: Now) {
        let assigned = self.pipeline.partitions().iter().any(|partition| partition.ledger.is_some());
        let age = now.mono.saturating_sub(self.state.proven);
        let proven = !assigned || age < self.proof;
        if proven == self.state.unproven {
            self.state.unproven = !proven;
            let unanswered = self.state.commits_sent.len();
            if proven {
                tracing::info!(unanswered, "membership in the group is proven again");
            } else {
                tracing::warn!(?age, unanswered, "membership in the group is not proven; no new request begins");
            }
        }
        self.pipeline.set_may_send(now, proven);
    }

    /// Two snapshots that agree on a difference: the books do not balance.
    fn audit_if_due(&mut self, now: Now) {
        if now.mono < self.state.next_audit {
            return;
        }
        self.state.next_audit = now.mono + AUDIT_EVERY;
        let differences = Report::new(now, &self.pipeline, &self.state).differences();
        let agreed = |(index, difference): (usize, &i128)| {
            *difference != 0 && self.state.last_differences.get(index) == Some(difference)
        };
        let count = differences.iter().enumerate().filter(|found| agreed(*found)).count();
        if count > 0 {
            self.state.imbalances += count as u64;
            tracing::error!(count, "the books do not balance: this is a bug");
        }
        self.state.last_differences = differences;
    }

    // === Doing ===

    /// Does what the pipeline wants done.
    fn act(&mut self) {
        let mut actions = std::mem::take(&mut self.state.actions);
        self.pipeline.take_actions(&mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(flight) => {
                    if let Err(back) = self.delivery.send(flight) {
                        let now = self.clock.now();
                        self.pipeline.answered(now, back, Err("the delivery has ended".into()));
                    }
                }
                Action::Write(letter) => self.letters.write(letter),
                Action::Pause { slot, paused } => self.pause(slot, paused),
                Action::Sweep { slot, from } => self.sweep(slot, from),
            }
        }
        self.state.actions = actions;
    }

    fn sweep(&mut self, slot: u32, from: Option<i64>) {
        let Some(partition) = self.pipeline.partitions().get(slot as usize) else { return };
        tracing::debug!(topic = %partition.topic, partition = partition.number, ?from, "catching up");
        if let Err(error) = self.sweeper.read(partition.topic, partition.number, from) {
            tracing::warn!(%error, topic = %partition.topic, partition = partition.number, ?from, "failed to read for deferred accounts");
        }
    }

    fn pause(&self, slot: u32, paused: bool) {
        let Some(partition) = self.pipeline.partitions().get(slot as usize) else { return };
        let which = list(&[(partition.topic.to_string(), partition.number)]);
        let done =
            if paused || self.state.draining { self.consumer.pause(&which) } else { self.consumer.resume(&which) };
        if let Err(error) = done {
            tracing::warn!(%error, paused, "failed to pause or resume a partition");
        }
    }

    // === The end ===

    fn begin_drain(&mut self, now: Now) {
        if self.state.draining {
            return;
        }
        self.state.draining = true;
        self.pause_all();
        self.pipeline.drain(now);
    }

    fn pause_all(&self) {
        if let Ok(assigned) = self.consumer.assignment()
            && let Err(error) = self.consumer.pause(&assigned)
        {
            tracing::warn!(%error, "failed to pause");
        }
    }

    fn is_drained(&self) -> bool {
        !self.pipeline.can_finish()
    }

    /// Takes every request back, commits what is settled, and gives the rest back to the group.
    fn finish(&mut self, end: End) {
        self.delivery.abandon();
        self.pipeline.abandon(self.clock.now());
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.pipeline.on_the_wire() > 0 && Instant::now() < deadline {
            if let Ok(message) = self.inbox.recv_timeout(Duration::from_millis(50)) {
                self.message(message);
            }
            self.pipeline.abandon(self.clock.now());
        }
        let now = self.clock.now();
        if end != End::Fatal && !self.consumer.assignment_lost() {
            self.commit(now, None, CommitMode::Sync);
        }
        let slots: Vec<u32> = (0..).take(self.pipeline.partitions().len()).collect();
        self.pipeline.unassign(&slots, now);
        self.consumer.context().close();
        tracing::info!(?end, "the source has ended");
    }
}
