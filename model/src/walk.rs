//! Follows every run of a model to its end.
//!
//! The checker of `stateright` finds every state that breaks a promise, but its `eventually`
//! overlooks runs that go in a circle. So the whole graph is walked here. It must have no circle, so that
//! every run ends. If only faults can happen next, the run may end there, and all must be well.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use stateright::{Expectation, Model, Property};

/// Broken if a run goes in a circle.
pub const ENDS: &str = "every run ends";
/// Broken if a run ends and not everybody is answered.
pub const ENDS_WELL: &str = "where a run ends, everybody is answered";

/// A model whose runs must end well.
pub trait Ends: Model<State: Clone + Eq + Hash, Action: Copy> {
    /// Whether an action need not happen, though it could.
    fn is_fault(action: Self::Action) -> bool;
    /// Whether a run may end here.
    fn is_good_end(state: &Self::State) -> bool;
    /// The same state for all states that differ in names only.
    fn representative(state: &Self::State) -> Self::State;
}

/// What a walk has found.
#[derive(Debug)]
pub struct Walked<A> {
    /// How many states there are.
    pub states: usize,
    /// What is broken somewhere: names of `always` properties, [`ENDS`], [`ENDS_WELL`].
    pub broken: BTreeSet<&'static str>,
    /// A run that leads there.
    pub steps: Vec<A>,
}

/// Follows all runs of `model`. Stops a run where a promise is broken.
pub fn walk<M: Ends>(model: &M) -> Walked<M::Action> {
    let mut promises = model.properties();
    promises.retain(|promise| promise.expectation == Expectation::Always);
    let mut walked = Walked { states: 0, broken: BTreeSet::new(), steps: Vec::new() };
    let mut marks: HashMap<M::State, Mark> = HashMap::new();
    let mut way: Vec<Stop<M>> = Vec::new();
    let mut arrivals: Ahead<M> = model.init_states().into_iter().map(|state| (None, state)).collect();
    loop {
        let ahead = way.last_mut().map_or(&mut arrivals, |stop| &mut stop.ahead);
        let Some((by, state)) = ahead.pop() else {
            let Some(stop) = way.pop() else { return walked };
            marks.insert(stop.state, Mark::WalkedOver);
            continue;
        };
        let known = M::representative(&state);
        let ahead = match marks.get(&known) {
            Some(Mark::WalkedOver) => continue,
            Some(Mark::OnTheWay) => Err(vec![ENDS]),
            None => look_ahead(model, &promises, &state),
        };
        match ahead {
            Ok(ahead) => {
                walked.states += 1;
                marks.insert(known.clone(), Mark::OnTheWay);
                way.push(Stop { by, state: known, ahead });
            }
            Err(broken) => {
                if walked.broken.is_empty() {
                    walked.steps = way.iter().filter_map(|stop| stop.by).chain(by).collect();
                }
                walked.broken.extend(broken);
            }
        }
    }
}

enum Mark {
    /// A state that is met again on the same run closes a circle.
    OnTheWay,
    WalkedOver,
}

struct Stop<M: Model> {
    by: Option<M::Action>,
    state: M::State,
    /// What can come next, and was not tried yet.
    ahead: Ahead<M>,
}

type Ahead<M> = Vec<(Option<<M as Model>::Action>, <M as Model>::State)>;

/// What can come next, or else what is broken here.
fn look_ahead<M: Ends>(model: &M, promises: &[Property<M>], state: &M::State) -> Result<Ahead<M>, Vec<&'static str>> {
    let broken = promises.iter().filter(|promise| !(promise.condition)(model, state));
    let mut broken: Vec<&str> = broken.map(|promise| promise.name).collect();
    let ahead: Ahead<M> = model.next_steps(state).into_iter().map(|(action, state)| (Some(action), state)).collect();
    let ends = ahead.iter().all(|(action, _)| action.is_some_and(M::is_fault));
    if ends && !M::is_good_end(state) {
        broken.push(ENDS_WELL);
    }
    if broken.is_empty() { Ok(ahead) } else { Err(broken) }
}

// --- The walk, seen red ---

/// States are numbers; only faults lead on from 5, 7 breaks a promise, 9 is a good end.
struct Steps(&'static [(u8, u8)]);

impl Model for Steps {
    type State = u8;
    type Action = (u8, u8);

    fn init_states(&self) -> Vec<u8> {
        vec![0]
    }

    fn actions(&self, state: &u8, actions: &mut Vec<(u8, u8)>) {
        actions.extend(self.0.iter().filter(|(from, _)| from == state));
    }

    fn next_state(&self, _: &u8, (_, to): (u8, u8)) -> Option<u8> {
        Some(to)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("there is no 7", |_, state| *state != 7)]
    }
}

impl Ends for Steps {
    fn is_fault((from, _): (u8, u8)) -> bool {
        from == 5
    }

    fn is_good_end(state: &u8) -> bool {
        *state == 9
    }

    fn representative(state: &u8) -> u8 {
        *state
    }
}

#[test]
fn circles_bad_ends_and_broken_promises_are_seen() {
    let check = |steps: &'static [(u8, u8)], broken: &[&str]| {
        assert_eq!(Vec::from_iter(walk(&Steps(steps)).broken), broken, "{steps:?}");
    };
    check(&[(0, 1), (0, 2), (1, 9), (2, 9)], &[]);
    check(&[(0, 1), (1, 2), (2, 0), (2, 9)], &[ENDS]);
    check(&[(0, 0), (0, 9)], &[ENDS]);
    check(&[(0, 1), (0, 9)], &[ENDS_WELL]);
    check(&[(0, 5), (5, 9)], &[ENDS_WELL]);
    check(&[(0, 7), (7, 9), (0, 9)], &["there is no 7"]);
}
