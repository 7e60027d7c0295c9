//! What the kexec is given: the incoming kernel's command line, and its image with stamps.
pub mod cmdline;
pub mod stamp;
