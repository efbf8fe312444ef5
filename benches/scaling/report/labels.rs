//! Names at the ends of lines: as near to their lines as they can be without touching each other.

/// Moves places along one axis so that neighbours are `apart` pixels or more from each other and all lie from `low` to
/// `high`, with the least sum of squared ways. The answers are in the order of the wishes; equal wishes keep theirs.
///
/// Where they do not all fit, they share the room evenly.
pub fn pushed_apart(wishes: &[f64], apart: f64, low: f64, high: f64) -> Vec<f64> {
    let room = (high - low) / (wishes.len().max(2) - 1) as f64;
    let apart = apart.min(room);
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by(|one, other| wishes[*one].total_cmp(&wishes[*other]));
    // Less the room of those before it, a place only must not come before its neighbour's: neighbours that would
    // cross meet at the mean of their wishes.
    let mut blocks: Vec<Block> = Vec::new();
    for (index, &wish) in order.iter().enumerate() {
        let mut block = Block { sum: wishes[wish] - apart * index as f64, members: 1 };
        while let Some(before) = blocks.pop_if(|before| before.mean() > block.mean()) {
            block = Block { sum: before.sum + block.sum, members: before.members + block.members };
        }
        blocks.push(block);
    }
    let last = high - apart * wishes.len().saturating_sub(1) as f64;
    let places =
        blocks.iter().flat_map(|block| std::iter::repeat_n(block.mean().max(low).min(last), block.members));
    let mut answer = vec![0.0; wishes.len()];
    for (index, (&wish, place)) in order.iter().zip(places).enumerate() {
        answer[wish] = place + apart * index as f64;
    }
    answer
}

/// Neighbours that touch.
struct Block {
    sum: f64,
    members: usize,
}

impl Block {
    fn mean(&self) -> f64 {
        self.sum / self.members as f64
    }
}
