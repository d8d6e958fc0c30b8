// Package wirecontract guards the worker protocol, which published SDKs have
// compiled in: a number that drifts breaks workers that nobody can update.
//
// testdata/wire.txt states the contract, one fact a line. The test turns the
// compiled descriptors of flovyn.v1 into the same lines and compares the two in
// both directions: what the contract says must exist, and what exists must be
// in the contract. So extending the protocol means writing the fact twice.
package wirecontract
