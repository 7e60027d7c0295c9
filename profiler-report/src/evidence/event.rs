//! Static events about tasks and CPUs, by the fields of their formats (include/trace/events/sched.h, cgroup.h and
//! cpuhp.h, Linux 7.3).

use super::trace::Value;

/// What such an event tells. The task is the one it fired in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `sched:sched_process_fork`: the task made another.
    Fork {
        /// The new task.
        child: u32,
    },
    /// `sched:sched_process_exec`: the task became another program.
    Exec {
        /// The program's file.
        file: String,
    },
    /// `sched:sched_process_exit`: the task ended.
    End {
        /// Its name.
        comm: String,
        /// It was the last of its process; `None` if the kernel does not tell.
        last: Option<bool>,
    },
    /// `cgroup:cgroup_attach_task`: a process was put into a control group.
    Attach {
        /// The process.
        pid: u32,
        /// Path of the group.
        group: String,
    },
    /// `cpuhp:cpuhp_enter`: a step of bringing a CPU up, or down, began.
    CpuStep {
        /// The CPU.
        cpu: u32,
        /// Address of the step's function.
        function: u64,
    },
    /// `cpuhp:cpuhp_exit`: it ended.
    CpuStepEnd {
        /// The CPU.
        cpu: u32,
    },
}

impl Event {
    /// Reads one; `None` if it is another event, or lacks a field.
    pub fn parse(name: &str, args: &[(String, Value)]) -> Option<Self> {
        let id = |wanted| u32::try_from(number(args, wanted)?).ok();
        Some(match name {
            "sched:sched_process_fork" => Self::Fork { child: id("child_pid")? },
            "sched:sched_process_exec" => Self::Exec { file: text(args, "filename")? },
            "sched:sched_process_exit" => Self::End {
                comm: text(args, "comm")?,
                last: number(args, "group_dead").map(|dead| dead != 0),
            },
            "cgroup:cgroup_attach_task" => Self::Attach { pid: id("pid")?, group: text(args, "dst_path")? },
            "cpuhp:cpuhp_enter" => Self::CpuStep { cpu: id("cpu")?, function: number(args, "fun")? },
            "cpuhp:cpuhp_exit" => Self::CpuStepEnd { cpu: id("cpu")? },
            _ => return None,
        })
    }

    /// Address of the function that it holds.
    pub fn function(&self) -> Option<u64> {
        match self {
            Self::CpuStep { function, .. } => Some(*function),
            _ => None,
        }
    }
}

fn number(args: &[(String, Value)], wanted: &str) -> Option<u64> {
    args.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| match value {
        Value::Unsigned(value) => Some(*value),
        Value::Signed(value) => u64::try_from(*value).ok(),
        Value::Text(_) => None,
    })
}

fn text(args: &[(String, Value)], wanted: &str) -> Option<String> {
    args.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, args: &[(&str, Value)]) -> Option<Event> {
        let args: Vec<_> = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Event::parse(name, &args)
    }

    #[test]
    fn events_are_told_by_their_fields_and_a_missing_one_is_no_event() {
        let text = |text: &str| Value::Text(text.to_owned());
        let fork = event("sched:sched_process_fork", &[("child_pid", Value::Signed(7))]);
        assert_eq!(fork, Some(Event::Fork { child: 7 }));
        let exec = event("sched:sched_process_exec", &[("filename", text("/init"))]);
        assert_eq!(exec, Some(Event::Exec { file: "/init".into() }));
        let end = event("sched:sched_process_exit", &[("comm", text("sh"))]);
        assert_eq!(end, Some(Event::End { comm: "sh".into(), last: None }));
        let attach =
            event("cgroup:cgroup_attach_task", &[("pid", Value::Signed(7)), ("dst_path", text("/a.slice"))]);
        assert_eq!(attach, Some(Event::Attach { pid: 7, group: "/a.slice".into() }));
        let step = event("cpuhp:cpuhp_enter", &[("cpu", Value::Unsigned(1)), ("fun", Value::Unsigned(16))]);
        assert_eq!(step.as_ref().and_then(Event::function), Some(16));
        assert_eq!(step, Some(Event::CpuStep { cpu: 1, function: 16 }));
        assert_eq!(event("cpuhp:cpuhp_exit", &[("state", Value::Signed(1))]), None);
        assert_eq!(event("sched:sched_process_fork", &[("child_pid", Value::Signed(-1))]), None);
        assert_eq!(event("sched:sched_switch", &[]), None);
    }
}
