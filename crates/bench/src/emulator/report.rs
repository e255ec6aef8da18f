//! The figures, with what they should be.

use std::fmt::{Display, Formatter};

use serde::Serialize;

use super::statistics::Spread;

/// Which values are good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    Below(f64),
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::Below(limit) => value < limit,
        }
    }
}

/// One figure that has a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    name: String,
    unit: &'static str,
    target: Target,
    measured: Spread,
    ok: bool,
}

/// How a server fared in one comparison: for orientation, without a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rate {
    pub(super) name: String,
    /// The median of the rounds.
    pub(super) calls_per_second: f64,
    /// The server's own, client and other programs apart.
    pub(super) processor_microseconds_per_call: Option<f64>,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// A build without optimisation says nothing.
    optimised: bool,
    cores: usize,
    figures: Vec<Figure>,
    rates: Vec<Rate>,
    missing: Vec<String>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            optimised: !cfg!(debug_assertions),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            figures: Vec::new(),
            rates: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Adds a figure made of these measurements; none means that this machine does not show it.
    pub(super) fn figure(&mut self, name: String, unit: &'static str, target: Target, values: &[f64]) {
        match Spread::of(values) {
            Some(measured) => {
                let ok = target.is_met_by(measured.median);
                self.figures.push(Figure { name, unit, target, measured, ok });
            }
            None => self.missing.push(name),
        }
    }

    pub(super) fn rate(&mut self, rate: Rate) {
        self.rates.push(rate);
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if !self.optimised {
            writeln!(f, "This is a debug build: the figures mean nothing.")?;
        }
        writeln!(f, "{} cores\n", self.cores)?;
        writeln!(f, "{:<44} {:>10} {:>10} {:>19}", "figure", "target", "measured", "middle half")?;
        for figure in &self.figures {
            let Spread { median, lower_quartile, upper_quartile } = figure.measured;
            let target = match figure.target {
                Target::AtLeast(limit) => format!(">= {}", short(limit)),
                Target::Below(limit) => format!("< {}", short(limit)),
            };
            let name =
                if figure.unit.is_empty() { figure.name.clone() } else { format!("{} ({})", figure.name, figure.unit) };
            let spread = format!("{}..{}", short(lower_quartile), short(upper_quartile));
            let verdict = if figure.ok { "ok" } else { "miss" };
            writeln!(f, "{name:<44} {target:>10} {:>10} {spread:>19}  {verdict}", short(median))?;
        }
        for name in &self.missing {
            writeln!(f, "{name:<44} cannot be measured on this system")?;
        }
        if !self.rates.is_empty() {
            writeln!(f, "\n{:<44} {:>10} {:>22}", "rate", "calls/s", "server's CPU us/call")?;
        }
        for rate in &self.rates {
            let cpu = rate.processor_microseconds_per_call.map_or("-".to_owned(), |cpu| format!("{cpu:.1}"));
            writeln!(f, "{:<44} {:>10.0} {cpu:>22}", rate.name, rate.calls_per_second)?;
        }
        Ok(())
    }
}

fn short(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_median() {
        let mut report = Report::new();
        report.figure("fast".into(), "", Target::AtLeast(0.5), &[0.3, 0.4, 0.51, 0.6, 0.7]);
        report.figure("slow".into(), "", Target::AtLeast(0.5), &[0.3, 0.4, 0.49, 0.6, 0.7]);
        report.figure("large".into(), "MB", Target::Below(32.0), &[32.0]);
        report.figure("unknown".into(), "MB", Target::Below(32.0), &[]);
        let verdicts: Vec<bool> = report.figures.iter().map(|figure| figure.ok).collect();
        assert_eq!((verdicts, report.missing.len()), (vec![true, false, false], 1));
        let table = report.to_string();
        assert!(table.contains("0.40..0.60  ok") && table.contains("0.40..0.60  miss"), "{table}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["figures"][2]["target"]["below"], 32.0);
        assert_eq!(json["figures"][0]["measured"]["median"], 0.51);
    }
}
