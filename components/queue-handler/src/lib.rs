//! Receives, claims, processes and settles: one run of one queue per request.
