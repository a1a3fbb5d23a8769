//! The ports as the screen holds them: with rates, a selection and a filter.

use std::time::Instant;

use netd_api::state::Port;

use super::keys::Key;
use super::list::List;
use super::rates::{Rate, Rates};
use crate::text;

/// The ports screen.
#[derive(Debug, Default)]
pub struct PortsView {
    ports: Vec<(Port, Option<Rate>)>,
    rates: Rates,
    /// Place among the ports that pass the filter.
    pub list: List,
    /// What a port must contain to be shown.
    pub filter: String,
    /// Whether ports were read at all.
    pub known: bool,
}

impl PortsView {
    /// Takes a reading. The selection stays on its port when others come and go.
    pub fn update(&mut self, at: Instant, ports: Vec<Port>) {
        let selected = self.selected().map(|(port, _)| port.name.clone());
        let rates = self.rates.update(at, &ports);
        self.ports = ports.into_iter().zip(rates).collect();
        self.known = true;
        self.select(selected);
    }

    /// Rates are unknown until the next two readings.
    pub fn forget_rates(&mut self) {
        self.rates.forget();
        for (_, rate) in &mut self.ports {
            *rate = None;
        }
    }

    /// The ports that pass the filter.
    pub fn shown(&self) -> Vec<&(Port, Option<Rate>)> {
        self.ports.iter().filter(|(port, _)| self.passes(port)).collect()
    }

    fn passes(&self, port: &Port) -> bool {
        let (vlans, state) = (text::port_vlans(port), text::port_state(port));
        super::contains(&self.filter, &[&port.name, &port.description, &port.attachment, &vlans, &state])
    }

    /// The selected port.
    pub fn selected(&self) -> Option<&(Port, Option<Rate>)> {
        self.shown().get(self.list.selected).copied()
    }

    /// Names of all ports.
    pub fn names(&self) -> Vec<String> {
        self.ports.iter().map(|(port, _)| text::clean(&port.name)).collect()
    }

    /// Takes a key that moves.
    pub fn press(&mut self, key: Key, page: usize) {
        let rows = self.shown().len();
        self.list.press(key, rows, page);
    }

    /// Takes a filter. The selection stays on its port where that is still shown.
    pub fn set_filter(&mut self, filter: String) {
        let selected = self.selected().map(|(port, _)| port.name.clone());
        self.filter = filter;
        self.select(selected);
    }

    fn select(&mut self, name: Option<String>) {
        let shown = self.shown();
        let place = name.and_then(|name| shown.iter().position(|(port, _)| port.name == name));
        let rows = shown.len();
        match place {
            Some(place) => self.list.selected = place,
            None => self.list.keep_within(rows),
        }
    }
}
