package fql

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Entity is what a query is about.
type Entity string

// The entities.
const (
	Workflow           Entity = "workflow"
	Task               Entity = "task"
	WorkflowDefinition Entity = "workflowDefinition"
	TaskDefinition     Entity = "taskDefinition"
)

// Entities returns all entities.
func Entities() []Entity { return []Entity{Workflow, Task, WorkflowDefinition, TaskDefinition} }

// Type is what a field holds.
type Type string

// The types of field.
const (
	Text   Type = "text"
	Number Type = "number"
	Bool   Type = "boolean"
	Time   Type = "time"
	UUID   Type = "uuid"
	Enum   Type = "enum"
	// Meta is one entry of an execution's metadata, which is a text.
	Meta Type = "metadata"
)

// Field is a field of an entity.
type Field struct {
	Name string
	Type Type
	// Description is one line for people.
	Description string
	// Values are those of an enum.
	Values []string
	// Optional fields may be absent.
	Optional bool
	// Unsortable fields cannot be ordered by.
	Unsortable bool
}

const metadataPrefix = "metadata."

// MetadataKey returns the key of a metadata field.
func (f Field) MetadataKey() string { return strings.TrimPrefix(f.Name, metadataPrefix) }

func metadataField(key string) Field {
	return Field{
		Name: metadataPrefix + key, Type: Meta, Optional: true, Unsortable: true,
		Description: "An entry of the metadata, by its key",
	}
}

var (
	workflowStatuses = []string{"PENDING", "RUNNING", "WAITING", "COMPLETED", "FAILED", "CANCELLED"}
	taskStatuses     = []string{"PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"}
	availabilities   = []string{"AVAILABLE", "UNAVAILABLE"}
)

var definitionFields = []Field{
	{Name: "id", Type: UUID, Description: "The definition's id"},
	{Name: "kind", Type: Text, Description: "The kind, as workers registered it"},
	{Name: "name", Type: Text, Description: "The name for people"},
	{Name: "description", Type: Text, Optional: true, Description: "What the kind is for"},
	{Name: "timeoutSeconds", Type: Number, Optional: true, Description: "The timeout that workers registered"},
	{Name: "cancellable", Type: Bool, Description: "Whether it can be cancelled"},
	{Name: "availabilityStatus", Type: Enum, Values: availabilities, Description: "Whether a worker for it is online"},
	{Name: "workerCount", Type: Number, Description: "How many workers for it are online"},
	{Name: "firstSeenAt", Type: Time, Description: "When it was first registered"},
	{Name: "lastRegisteredAt", Type: Time, Description: "When it was last registered"},
}

var fields = map[Entity][]Field{
	Workflow: {
		{Name: "id", Type: UUID, Description: "The execution's id"},
		{Name: "kind", Type: Text, Description: "The kind of workflow"},
		{Name: "status", Type: Enum, Values: workflowStatuses, Description: "Where the execution stands"},
		{Name: "queue", Type: Text, Description: "The queue it is dispatched on"},
		{Name: "version", Type: Text, Optional: true, Description: "The version it was started with"},
		{Name: "createdAt", Type: Time, Description: "When it was started"},
		{Name: "startedAt", Type: Time, Optional: true, Description: "When a worker first took it"},
		{Name: "completedAt", Type: Time, Optional: true, Description: "When it ended"},
		{Name: "updatedAt", Type: Time, Description: "When it last changed"},
	},
	Task: {
		{Name: "id", Type: UUID, Description: "The task's id"},
		{Name: "kind", Type: Text, Description: "The kind of task"},
		{Name: "status", Type: Enum, Values: taskStatuses, Description: "Where the task stands"},
		{Name: "queue", Type: Text, Description: "The queue it is dispatched on"},
		{Name: "attempt", Type: Number, Description: "How often a worker took it"},
		{Name: "maxRetries", Type: Number, Description: "How often it may be tried again"},
		{Name: "workflowId", Type: UUID, Optional: true, Description: "The workflow execution it belongs to"},
		{Name: "createdAt", Type: Time, Description: "When it was created"},
		{Name: "startedAt", Type: Time, Optional: true, Description: "When a worker first took it"},
		{Name: "completedAt", Type: Time, Optional: true, Description: "When it ended"},
	},
	WorkflowDefinition: slices.Insert(slices.Clone(definitionFields), 6,
		Field{Name: "latestVersion", Type: Text, Optional: true, Description: "The version registered last"}),
	TaskDefinition: definitionFields,
}

// Fields returns the fields of an entity, nil if there is no such entity.
func (e Entity) Fields() []Field { return fields[e] }

// HasMetadata reports whether metadata.key is a field.
func (e Entity) HasMetadata() bool { return e == Workflow || e == Task }

// Field returns a field of the entity by its name; metadata.key is one of any key.
func (e Entity) Field(name string) (Field, bool) {
	if key, ok := strings.CutPrefix(name, metadataPrefix); ok && e.HasMetadata() && key != "" {
		return metadataField(key), true
	}
	for _, f := range fields[e] {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

var allOperators = []Op{
	Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual, In, NotIn, Contains, NotContains, IsNull, IsNotNull,
}

// Operators returns all operators.
func Operators() []Op { return slices.Clone(allOperators) }

// Describe says what an operator does.
func (op Op) Describe() string {
	return map[Op]string{
		Equal: "is equal to", NotEqual: "is not equal to", Greater: "is greater than, or later than",
		GreaterEqual: "is greater than or equal to", Less: "is less than, or earlier than",
		LessEqual: "is less than or equal to", In: "is one of", NotIn: "is none of",
		Contains: "contains, whatever the case", NotContains: "does not contain",
		IsNull: "is absent", IsNotNull: "is there",
	}[op]
}

// Operators returns the operators that the type takes.
func (t Type) Operators() []Op {
	switch t {
	case Text, Meta:
		return []Op{Equal, NotEqual, In, NotIn, Contains, NotContains, IsNull, IsNotNull}
	case Number:
		return []Op{Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual, In, NotIn, IsNull, IsNotNull}
	case Time:
		return []Op{Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual, IsNull, IsNotNull}
	case UUID, Enum:
		return []Op{Equal, NotEqual, In, NotIn, IsNull, IsNotNull}
	default:
		return []Op{Equal, NotEqual, IsNull, IsNotNull}
	}
}

// read takes a literal as a value of the field, or says what was expected.
func (f Field) read(literal any) (Value, string) {
	switch f.Type {
	case Number:
		if n, ok := literal.(int64); ok {
			return Value{n}, ""
		}
		return Value{}, "a whole number"
	case Bool:
		if b, ok := literal.(bool); ok {
			return Value{b}, ""
		}
		return Value{}, "true or false"
	case Time:
		return readTime(literal)
	case UUID:
		if s, ok := literal.(string); ok {
			if id, err := uuid.Parse(s); err == nil && len(s) == len(id.String()) {
				return Value{id.String()}, ""
			}
		}
		return Value{}, "a UUID in double quotes"
	case Enum:
		if s, ok := literal.(string); ok && slices.Contains(f.Values, s) {
			return Value{s}, ""
		}
		return Value{}, "one of " + quotedList(f.Values)
	default:
		if s, ok := literal.(string); ok {
			return Value{s}, ""
		}
		return Value{}, "a text in double quotes"
	}
}

// The years that a text may name, well inside of what the database can hold.
const minYear, maxYear = 1, 9999

func readTime(literal any) (Value, string) {
	const expected = `a time such as "2026-01-31T12:00:00Z", "2026-01-31", -7d, NOW() or TODAY()`
	switch v := literal.(type) {
	case Clock:
		return Value{v}, ""
	case string:
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
			if at, err := time.Parse(layout, v); err == nil {
				if at = at.UTC(); at.Year() >= minYear && at.Year() <= maxYear {
					// What the database keeps.
					return Value{at.Truncate(time.Microsecond)}, ""
				}
			}
		}
	}
	return Value{}, expected
}

func quotedList(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return strings.Join(quoted, ", ")
}
