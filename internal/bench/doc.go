// Package bench measures the whole product as its users have it: a server
// process over a durable PostgreSQL of its own, a worker process, and clients,
// all over gRPC on one machine.
//
// # What is comparable
//
// Machines differ and are never quiet. So a run measures its own limits beside
// everything else (the round trip of an empty unary call over the same
// transport, single-row commits per second), every case is measured several
// times in alternation with the others, and the report shows the median with
// the spread. What is said of a case is a ratio to those limits, or a count:
// commits, row writes, statements and bytes of WAL do not depend on the weather.
//
// # Who does what
//
//	Machine   PostgreSQL and the servers, as processes; reads their counters
//	Worker    executes the bench kinds; runs in a process of its own
//	Load      starts workflows and waits for their results, so many in flight
//	Suite     the cases, their order and repeats
//	Report    JSON, and a table beside what the product must show
//
// The worker decides by counting the events of a history. That is less than an
// SDK does and keeps it out of the numbers; the calls are those of an SDK: poll,
// events, submit, poll, complete.
package bench
