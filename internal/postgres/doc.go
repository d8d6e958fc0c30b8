// Package postgres keeps everything in PostgreSQL. Rows and SQL never leave it:
// it speaks the nouns of package flovyn and the failures of package fault.
//
// # Group commit
//
// Every change of workflows and tasks goes through Store.Do: a caller names what
// it will touch (Touch) and passes a closure over a Tx. Requests that arrive
// while a commit is under way are taken together into the next one, so that an
// idle server adds no delay and a busy one shares its commits:
//
//	round trip 1   BEGIN; lock and load what all closures touch
//	in memory      run the closures, one after the other, on the loaded rows
//	round trip 2   write everything, a statement per table; COMMIT
//
// A closure that fails writes nothing and fails alone. When the statements
// themselves fail, the members of the batch are tried one by one, so that a bad
// one never fails its neighbours. A closure may run several times and must have
// no effect outside its Tx but through OnCommit and OnRollback.
//
// A closure may ask for something it did not name: it is then run again in a
// later commit that has loaded it as well. All commits lock in the same order
// (idempotency keys, executions by id, tasks by id, promises by id), so that
// servers never deadlock with each other.
//
// # Claims
//
// Taking runnable work off the `ready` table is a separate statement that
// commits asynchronously: losing a claim in a crash is harmless, because the
// work is then still runnable.
//
// # Histories
//
// Recent histories are kept in memory, validated by the sequence number in the
// execution's row, so that a step reads only what it does not know.
package postgres
