//! A map from numbers to values, in the order of the numbers.
//!
//! `BTreeMap` is compiled anew for each type of value, and is a fifth of a second each time. Here
//! the tree holds only the places of a slab, and is the same for all types.

use std::collections::BTreeMap;
use std::fmt;

use slab::Slab;

/// Values by number. (`BTreeMap<u64, V>`.)
pub(crate) struct Numbered<V> {
    places: BTreeMap<u64, usize>,
    values: Slab<V>,
}

impl<V> Numbered<V> {
    pub(crate) const fn new() -> Numbered<V> {
        Numbered { places: BTreeMap::new(), values: Slab::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.places.contains_key(&number)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&V> {
        self.values.get(*self.places.get(&number)?)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        self.values.get_mut(*self.places.get(&number)?)
    }

    /// Sets the value of a number, and returns the previous one.
    pub(crate) fn insert(&mut self, number: u64, value: V) -> Option<V> {
        match self.get_mut(number) {
            Some(known) => Some(std::mem::replace(known, value)),
            None => {
                let place = self.values.insert(value);
                self.places.insert(number, place);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<V> {
        self.values.try_remove(self.places.remove(&number)?)
    }

    /// Removes the value with the lowest number.
    pub(crate) fn pop_first(&mut self) -> Option<(u64, V)> {
        let (number, place) = self.places.pop_first()?;
        Some((number, self.values.try_remove(place)?))
    }

    /// The values, by ascending number.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.places.values().filter_map(|place| self.values.get(*place))
    }

    /// The values, in no order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.iter_mut().map(|(_, value)| value)
    }

    /// The values, by ascending number.
    pub(crate) fn into_values(self) -> impl Iterator<Item = V> {
        let Numbered { places, mut values } = self;
        places.into_values().filter_map(move |place| values.try_remove(place))
    }
}

impl<V> Default for Numbered<V> {
    fn default() -> Numbered<V> {
        Numbered::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for Numbered<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_the_order_of_their_numbers() {
        let mut numbered = Numbered::new();
        for (number, name) in [(7, "seven"), (3, "three"), (9, "nine"), (5, "five")] {
            assert_eq!(numbered.insert(number, name), None);
        }
        assert_eq!(numbered.insert(9, "NINE"), Some("nine"));
        assert_eq!((numbered.remove(5), numbered.remove(5)), (Some("five"), None));
        assert_eq!((numbered.get(5), numbered.get(7), numbered.contains(3)), (None, Some(&"seven"), true));
        assert_eq!(numbered.insert(1, "one"), None);
        assert_eq!(numbered.values().copied().collect::<Vec<_>>(), ["one", "three", "seven", "NINE"]);
        assert_eq!((numbered.pop_first(), numbered.len()), (Some((1, "one")), 3));
        *numbered.get_mut(3).unwrap() = "THREE";
        numbered.values_mut().filter(|name| **name == "seven").for_each(|name| *name = "SEVEN");
        assert_eq!(numbered.into_values().collect::<Vec<_>>(), ["THREE", "SEVEN", "NINE"]);
    }

    #[test]
    fn an_empty_one_has_no_first_value() {
        assert!(Numbered::<u8>::new().is_empty() && Numbered::<u8>::default().pop_first().is_none());
    }
}
