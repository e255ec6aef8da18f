//! Prints the tables of `docs/CONFIGURATION.md`, to be pasted there after a setting changed:
//! `cargo run -p oncebus-core --example settings`.

use oncebus_core::config::settings::{Place, SETTINGS, Setting, render_table};

fn main() {
    for place in Place::ALL {
        let settings: Vec<Setting> = SETTINGS.iter().copied().filter(|setting| setting.place == place).collect();
        println!("{place:?}\n{}", render_table(&settings));
    }
}
