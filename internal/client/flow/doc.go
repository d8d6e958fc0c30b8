// Package flow is a worker library: it runs workflows and tasks that are written
// as ordinary Go functions, and keeps the promise that a workflow survives
// anything but a change of its own code.
//
//	w, err := flow.NewWorker(c, flow.Options{Org: org})
//	w.RegisterTask("charge", chargeCard)
//	w.RegisterWorkflow("order", func(ctx *flow.Context, input json.RawMessage) (any, error) {
//		charge := ctx.ScheduleTask("charge", input, flow.TaskOptions{})
//		return flow.Result[Receipt](charge)
//	})
//	err = w.Run(ctx)
//
// # Replay
//
// A workflow function is run from its beginning every time something happens to
// its execution. Whatever it asks of its Context is matched with the history: the
// k-th task of the code is the k-th TASK_SCHEDULED, and so on, each kind of event
// counted by itself. What the history has is not asked for again; what it does
// not have becomes a command. When the function needs a result that the history
// does not have, the activation ends: the new commands are submitted, and the
// function will be run again when the result is there.
//
// A function is activated on a goroutine of its own, and a suspension ends that
// goroutine (runtime.Goexit): its deferred functions run, nothing can recover
// from it, and nothing stays behind. Deferred functions of a workflow therefore
// run in every activation, and must not use the Context.
//
// The rules for workflow functions follow from that. The same history must lead
// to the same calls in the same order: no clock, no randomness, no network, no
// goroutines, no ranging over maps around calls of the Context. Tasks are for
// everything else, and SideEffect is for small values that differ each time.
// Futures keep the rule by themselves: Any chooses what was settled first, by the
// history's order, not what happens to be there now.
//
// # When code and history disagree
//
// If the k-th task has another kind than the history says, a name differs, or the
// history has more than the code asks for, then the code was changed under a
// running execution, or breaks the rules. Going on would attach results to the
// wrong calls, and running it again would not help; so the execution fails, with
// the failure type NONDETERMINISM and a message that names both sides. None of
// the activation's commands are submitted.
package flow
