//! Lists of a state that is copied at every command and changed in one or two places: copies share every part that none
//! of them changed, and what is over is not looked through again. Own no meaning: what a step or a request is belongs to
//! `state`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;
use std::sync::Arc;

use super::facts::RequestId;
use super::state::{Request, RequestStatus};

/// How many items a part holds: a copy counts the parts, a change copies one of them.
const PART: usize = 32;

/// A list of fixed length.
#[derive(Debug, Clone, PartialEq)]
pub struct List<T> {
    parts: Vec<Arc<Vec<Arc<T>>>>,
}

impl<T> List<T> {
    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// An item.
    pub fn get(&self, index: usize) -> Option<&Arc<T>> {
        self.parts.get(index / PART)?.get(index % PART)
    }

    /// An item that is about to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Arc<T>> {
        Arc::make_mut(self.parts.get_mut(index / PART)?).get_mut(index % PART)
    }
}

impl<T> FromIterator<Arc<T>> for List<T> {
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(items: I) -> Self {
        let items: Vec<Arc<T>> = items.into_iter().collect();
        Self {
            parts: items.chunks(PART).map(|part| Arc::new(part.to_vec())).collect(),
        }
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a Arc<T>;
    type IntoIter = Box<dyn Iterator<Item = &'a Arc<T>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl<'a, T> IntoIterator for &'a mut List<T> {
    type Item = &'a mut Arc<T>;
    type IntoIter = Box<dyn Iterator<Item = &'a mut Arc<T>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.parts.iter_mut().flat_map(|part| Arc::make_mut(part).iter_mut()))
    }
}

/// A run's requests by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    parts: BTreeMap<u64, Arc<BTreeMap<RequestId, Arc<Request>>>>,
    /// Those that may still be asked or granted; some of them may be over.
    lively: BTreeSet<RequestId>,
}

/// Which of them are looked through first follows from what they are.
impl PartialEq for Requests {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Requests {
    /// A request.
    pub fn get(&self, id: &RequestId) -> Option<&Arc<Request>> {
        self.parts.get(&part_of(*id))?.get(id)
    }

    /// A request that is about to be changed.
    pub fn get_mut(&mut self, id: &RequestId) -> Option<&mut Request> {
        let part = self.parts.get_mut(&part_of(*id))?;
        let request = Arc::make_mut(part).get_mut(id)?;
        self.lively.insert(*id);
        Some(Arc::make_mut(request))
    }

    /// Adds a request, or puts it in the place of the one with its number.
    pub fn insert(&mut self, request: Request) {
        let Self { parts, lively } = self;
        lively.retain(|id| {
            let known = parts.get(&part_of(*id)).and_then(|part| part.get(id));
            known.is_some_and(|request| !is_over(request.status))
        });
        lively.insert(request.id);
        let part = parts.entry(part_of(request.id)).or_default();
        Arc::make_mut(part).insert(request.id, Arc::new(request));
    }

    /// All of them, in the order of their numbers.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Arc<Request>> {
        self.parts.values().flat_map(|part| part.values())
    }

    /// Their numbers.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &RequestId> {
        self.parts.values().flat_map(|part| part.keys())
    }

    /// Those that are asked, or granted and not consumed, in the order of their numbers.
    pub fn alive(&self) -> impl Iterator<Item = &Arc<Request>> {
        let known = self.lively.iter().filter_map(|id| self.get(id));
        known.filter(|request| !is_over(request.status))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts.values().map(|part| part.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Index<&RequestId> for Requests {
    type Output = Arc<Request>;

    /// As with any map, it must be there.
    fn index(&self, id: &RequestId) -> &Arc<Request> {
        &self.parts[&part_of(*id)][id]
    }
}

const fn part_of(id: RequestId) -> u64 {
    id.0 / PART as u64
}

const fn is_over(status: RequestStatus) -> bool {
    match status {
        RequestStatus::Open | RequestStatus::Granted => false,
        RequestStatus::Rejected | RequestStatus::Voided | RequestStatus::Expired | RequestStatus::Consumed => true,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn numbers(list: &List<u32>) -> Vec<u32> {
        list.iter().map(|item| **item).collect()
    }

    #[test]
    fn a_change_is_seen_in_one_copy_only() {
        let mut list: List<u32> = (0..100).map(Arc::new).collect();
        let copy = list.clone();
        *Arc::make_mut(list.get_mut(70).unwrap()) = 7;
        assert_eq!(numbers(&copy), (0..100).collect::<Vec<_>>());
        assert_eq!((**list.get(70).unwrap(), **copy.get(70).unwrap()), (7, 70));
        assert_eq!(list.get_mut(100), None);
        for item in &mut list {
            *Arc::make_mut(item) += 1;
        }
        assert_eq!(
            (numbers(&list)[69..72].to_vec(), numbers(&copy)[0]),
            (vec![70, 8, 72], 0)
        );
    }

    #[test]
    fn what_was_not_changed_is_shared() {
        let mut list: List<u32> = (0..100).map(Arc::new).collect();
        let copy = list.clone();
        *Arc::make_mut(list.get_mut(0).unwrap()) = 1;
        let shared = list.parts.iter().zip(&copy.parts);
        let shared: Vec<bool> = shared.map(|(mine, its)| Arc::ptr_eq(mine, its)).collect();
        assert_eq!(shared, [false, true, true, true]);
    }
}
