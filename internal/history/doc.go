// Package history holds the rules of a workflow execution: what events there
// are, what a history means, and which events commands and outside facts lead
// to. It is pure: values and a time in, values out.
//
// # Replay
//
// A worker re-executes the workflow's code on every activation and meets its
// history by ordinal within each kind of event: the k-th schedule call of the
// code meets the k-th TASK_SCHEDULED, and likewise for timers, promises, child
// workflows, operations, and the joint list of state changes. So the events
// that answer commands must keep the order of the commands, and none may ever
// be written twice or without being asked for.
//
// A worker that failed to fetch the history re-runs from the start and sends
// every command anew. Submit recognizes such a resend by the identities that
// commands carry (task, child and timer ids) and drops what the history has.
//
// # Outside facts
//
// Everything that does not come from the worker holding the execution (a task
// that ended, a timer that fired, a settled promise, a signal, a child's end)
// is a fact. A fact appends one event and makes a waiting execution runnable.
// While a worker holds the execution, the fact is remembered as news, and the
// submission that would suspend the execution makes it runnable instead.
package history
