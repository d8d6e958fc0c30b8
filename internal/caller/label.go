package caller

import "strings"

// Label names a caller in records, as "type:id".
func (c Caller) Label() string { return strings.ToLower(string(c.Kind)) + ":" + c.ID }
