//! Things by numbers whose places are small.

/// Bits of a number that name its place; the others count how often the place was used.
const PLACE_BITS: u32 = 26;

/// A number modulo this is its place, from 0.
pub const PLACES: u64 = 1 << PLACE_BITS;

/// How many uses of a place are told apart. Then numbers come again: so long nobody keeps one. All fit into Luau's numbers.
const USES: u64 = 1 << (53 - PLACE_BITS);

/// Things, each with a number that names no other. Its place is a small one, which is used again: Luau keeps what belongs to
/// it in an array, where a table by ever new numbers would be built anew all the time.
pub struct Places<T> {
    places: Vec<Place<T>>,
    free: Vec<usize>,
}

struct Place<T> {
    uses: u64,
    content: Option<T>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Places<T> {
    /// Adds what `make` makes for its number.
    pub fn insert(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                uses: 0,
                content: None,
            });
            self.places.len() - 1
        });
        let place = &mut self.places[index];
        place.uses = (place.uses + 1) % USES;
        let number = place.uses << PLACE_BITS | index as u64;
        place.content = Some(make(number));
        number
    }

    /// What has this number.
    pub fn get(&self, number: u64) -> Option<&T> {
        let place = self.places.get(index_of(number))?;
        place.content.as_ref().filter(|_| place.has(number))
    }

    /// Takes what has this number out.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let index = index_of(number);
        let place = self.places.get_mut(index)?;
        let content = place.content.take_if(|_| place.uses == uses_of(number))?;
        self.free.push(index);
        Some(content)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Takes all out.
    pub fn drain(&mut self) -> Vec<T> {
        let mut all = Vec::with_capacity(self.len());
        for (index, place) in self.places.iter_mut().enumerate() {
            if let Some(content) = place.content.take() {
                all.push(content);
                self.free.push(index);
            }
        }
        all
    }
}

impl<T> Place<T> {
    fn has(&self, number: u64) -> bool {
        self.uses == uses_of(number)
    }
}

fn index_of(number: u64) -> usize {
    (number % PLACES) as usize
}

fn uses_of(number: u64) -> u64 {
    number >> PLACE_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_but_its_number_is_not() {
        let mut things = Places::default();
        let first = things.insert(|number| number);
        let second = things.insert(|_| 7);
        assert_eq!((first % PLACES, second % PLACES), (0, 1));
        assert_eq!(things.get(first), Some(&first));
        assert_eq!(things.remove(first), Some(first));
        assert_eq!((things.remove(first), things.len()), (None, 1));
        let third = things.insert(|_| 8);
        assert_eq!(third % PLACES, first % PLACES);
        assert_ne!(third, first);
        assert!(things.get(first).is_none() && things.remove(first).is_none());
        assert_eq!(things.drain(), [8, 7]);
        assert_eq!((things.len(), things.get(third)), (0, None));
        assert!(things.insert(|_| 9) % PLACES < 2);
    }

    #[test]
    fn every_number_is_a_whole_one_in_luau() {
        let mut things = Places::default();
        let first = things.insert(drop);
        things.places[0].uses = USES - 1;
        things.places[0].content = None;
        things.free.push(0);
        let last = (USES - 1) << PLACE_BITS | (PLACES - 1);
        assert!(last < 1 << 53 && last as f64 as u64 == last);
        // And then they begin again.
        assert_eq!(things.insert(drop), 0);
        assert_eq!(things.insert(drop) % PLACES, 1);
        assert!(things.get(first).is_none());
    }
}
