//! What is said to and by a register.
