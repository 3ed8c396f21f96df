//! Real control planes, agents and Envoys on this machine; see `tests/it`.
