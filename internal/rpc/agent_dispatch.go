package rpc

import "github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"

// agentDispatch answers that this server does not run agents. Its procedures
// are registered all the same, so that callers are authenticated and authorized
// here as everywhere.
type agentDispatch struct {
	flovynv1connect.UnimplementedAgentDispatchHandler
}
