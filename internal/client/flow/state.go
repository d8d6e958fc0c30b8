package flow

import (
	"encoding/json"
	"fmt"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// SetState sets a key of the execution's state, which people and queries can
// see. The value is encoded as JSON.
func (c *Context) SetState(key string, value any) error {
	c.mustRun()
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the state %s: %w", key, err)
	}
	c.values[key] = encoded
	if !c.replaysState(stateChange{key: key}) {
		c.command(setState(key, encoded))
	}
	return nil
}

// ClearState removes a key of the execution's state. Removing what is not there
// is not even recorded.
func (c *Context) ClearState(key string) {
	c.mustRun()
	if _, ok := c.values[key]; !ok {
		return
	}
	delete(c.values, key)
	if !c.replaysState(stateChange{key: key, cleared: true}) {
		c.command(clearState(key))
	}
}

// State decodes a key of the execution's state into the given pointer, and
// reports whether it is set. It sees what the code has done so far, also when
// the history goes further.
func (c *Context) State(key string, into any) (bool, error) {
	c.mustRun()
	value, ok := c.values[key]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(value, into); err != nil {
		return true, fmt.Errorf("decoding the state %s: %w", key, err)
	}
	return true, nil
}

func (s stateChange) String() string {
	if s.cleared {
		return "clearing " + s.key
	}
	return "setting " + s.key
}

func (c *Context) replaysState(change stateChange) bool {
	n := c.asked.state
	c.asked.state++
	if n >= len(c.past.state) {
		return false
	}
	if recorded := c.past.state[n]; recorded != change {
		c.diverge("state change %d is %q in the history, and %q in the code", n+1, recorded, change)
	}
	return true
}

// SideEffect calls fn once in the life of the execution and returns what it
// returned then, in every activation: for identifiers, random choices and the
// time. It is no place for work that may fail; that is what tasks are for.
func SideEffect[T any](c *Context, name string, fn func() T) T {
	c.mustRun()
	recorded, ok := c.replaysOperation(name)
	if !ok {
		encoded, err := json.Marshal(fn())
		if err != nil {
			c.misuse("encoding the result of side effect %s: %v", name, err)
		}
		recorded = encoded
		c.command(recordOperation(name, encoded))
	}
	// The first time goes through JSON too, so that it sees what the others see.
	var value T
	if err := json.Unmarshal(orNull(recorded), &value); err != nil {
		c.misuse("decoding the result of side effect %s: %v", name, err)
	}
	return value
}

// once gives a command that leaves no event of its own. An operation recorded
// with it tells later activations that it was given.
func (c *Context) once(name string, command *flovynv1.WorkflowCommand) {
	if _, given := c.replaysOperation(name); given {
		return
	}
	c.command(recordOperation(name, []byte("null")))
	c.command(command)
}

func (c *Context) replaysOperation(name string) (json.RawMessage, bool) {
	n := c.asked.operations
	c.asked.operations++
	if n >= len(c.past.operations) {
		return nil, false
	}
	recorded := c.past.operations[n]
	if recorded.name != name {
		c.diverge("operation %d is %q in the history, and %q in the code", n+1, recorded.name, name)
	}
	return recorded.result, true
}
