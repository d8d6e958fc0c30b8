package flovyn

import (
	"time"

	"github.com/google/uuid"
)

// ScheduleID identifies a schedule.
type ScheduleID uuid.UUID

// UUID returns the identifier's 16 bytes.
func (id ScheduleID) UUID() uuid.UUID { return uuid.UUID(id) }

func (id ScheduleID) String() string { return uuid.UUID(id).String() }

// ScheduleType says how often a schedule fires.
type ScheduleType string

// The types of schedule.
const (
	ScheduleOnce      ScheduleType = "once"
	ScheduleRecurring ScheduleType = "recurring"
)

// MissedPolicy says what becomes of a run that no server was there for.
type MissedPolicy string

// The policies for missed runs.
const (
	MissedSkip    MissedPolicy = "skip"
	MissedExecute MissedPolicy = "execute_once"
)

// OverlapPolicy says what happens when an earlier run still goes on.
type OverlapPolicy string

// The policies for runs that would overlap.
const (
	OverlapSkip   OverlapPolicy = "skip"
	OverlapAllow  OverlapPolicy = "allow"
	OverlapCancel OverlapPolicy = "cancel_previous"
)

// ScheduleTarget is what a schedule starts.
type ScheduleTarget struct {
	Class Class
	Kind  string
	Queue string
	// Input is JSON.
	Input []byte
	// MaxRetries is nil for the default; of tasks alone.
	MaxRetries *int32
	// Metadata is a JSON object of strings, or nil.
	Metadata []byte
}

// Schedule starts a workflow or a task by the clock.
type Schedule struct {
	ID          ScheduleID
	Org         OrgID
	Name        string
	Description *string
	Type        ScheduleType
	// RunAt is of schedules that fire once.
	RunAt *time.Time
	// Cron, Timezone and EndAt are of recurring ones.
	Cron, Timezone string
	EndAt          *time.Time
	Target         ScheduleTarget
	Enabled        bool
	// NextRunAt is nil while the schedule is paused, and when nothing is left.
	NextRunAt, LastRunAt *time.Time
	// RunCount counts what was started.
	RunCount             int64
	Missed               MissedPolicy
	Overlap              OverlapPolicy
	CreatedBy            string
	CreatedAt, UpdatedAt time.Time
}

// RunStatus says where a run of a schedule stands.
type RunStatus string

// The states of a run.
const (
	// RunPending is decided, and about to be started.
	RunPending   RunStatus = "pending"
	RunRunning   RunStatus = "running"
	RunCompleted RunStatus = "completed"
	RunFailed    RunStatus = "failed"
	RunSkipped   RunStatus = "skipped"
)

// ScheduleRun is one run of a schedule.
type ScheduleRun struct {
	ID                     uuid.UUID
	Schedule               ScheduleID
	Org                    OrgID
	ScheduledAt            time.Time
	StartedAt, CompletedAt *time.Time
	Status                 RunStatus
	Class                  Class
	// Target is what is started, nil when nothing is.
	Target *uuid.UUID
	Error  string
}
