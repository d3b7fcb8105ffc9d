//! Reading and writing of JSON that is already known to be valid.
