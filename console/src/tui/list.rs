//! Where one is in a list: the selected row, and which rows are in view.

use std::ops::Range;

use super::keys::Key;

/// Place in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// The selected row.
    pub selected: usize,
    offset: usize,
}

impl List {
    /// Takes a key that moves; `false` when the key does not. `page` is how many rows are in view.
    pub fn press(&mut self, key: Key, rows: usize, page: usize) -> bool {
        let page = page.max(1);
        self.selected = match key {
            Key::Up | Key::Char('k') => self.selected.saturating_sub(1),
            Key::Down | Key::Char('j') => self.selected.saturating_add(1),
            Key::PageUp => self.selected.saturating_sub(page),
            Key::PageDown => self.selected.saturating_add(page),
            Key::Home => 0,
            Key::End => usize::MAX,
            _ => return false,
        };
        self.keep_within(rows);
        true
    }

    /// Moves the selection to a row that exists.
    pub fn keep_within(&mut self, rows: usize) {
        self.selected = self.selected.min(rows.saturating_sub(1));
    }

    /// The rows to show in `height` lines, such that the selected one is among them.
    pub fn view(&mut self, rows: usize, height: usize) -> Range<usize> {
        self.keep_within(rows);
        let least = (self.selected + 1).saturating_sub(height);
        let most = self.selected.min(rows.saturating_sub(height));
        self.offset = self.offset.max(least).min(most.max(least));
        self.offset..rows.min(self.offset + height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_stays_in_view() {
        let mut list = List::default();
        assert_eq!(list.view(100, 10), 0..10);
        list.press(Key::PageDown, 100, 10);
        assert_eq!((list.selected, list.view(100, 10)), (10, 1..11));
        list.press(Key::End, 100, 10);
        assert_eq!((list.selected, list.view(100, 10)), (99, 90..100));
        list.press(Key::Up, 100, 10);
        assert_eq!(list.view(100, 10), 90..100);
        list.press(Key::Home, 100, 10);
        assert_eq!(list.view(100, 10), 0..10);
    }

    #[test]
    fn a_list_may_shrink_under_the_selection() {
        let mut list = List::default();
        list.press(Key::End, 100, 10);
        list.view(100, 10);
        assert_eq!((list.view(3, 10), list.selected), (0..3, 2));
        assert_eq!((list.view(0, 10), list.selected), (0..0, 0));
        assert!(list.view(5, 0).is_empty());
    }
}
