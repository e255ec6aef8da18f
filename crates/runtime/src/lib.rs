//! The only place with effects: transport, clock, entropy; drives the core through the REST dialects.
