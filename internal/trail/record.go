package trail

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/wire"
)

// Limits of a record. AWS's are the same, where it has any.
const (
	maxDocument  = 100 << 10 // of requestParameters and of responseElements
	maxText      = 1 << 10   // of texts that a client chooses
	maxResources = 50
	maxARN       = 2048
)

// record is one call. The order of the fields is that of AWS's examples.
type record struct {
	EventVersion        string          `json:"eventVersion"`
	UserIdentity        identity        `json:"userIdentity"`
	EventTime           string          `json:"eventTime"`
	EventSource         string          `json:"eventSource"`
	EventName           string          `json:"eventName"`
	AWSRegion           string          `json:"awsRegion"`
	SourceIPAddress     string          `json:"sourceIPAddress"`
	UserAgent           string          `json:"userAgent"`
	ErrorCode           string          `json:"errorCode,omitempty"`
	ErrorMessage        string          `json:"errorMessage,omitempty"`
	RequestParameters   json.RawMessage `json:"requestParameters"`
	ResponseElements    json.RawMessage `json:"responseElements"`
	AdditionalEventData *additional     `json:"additionalEventData,omitempty"`
	RequestID           string          `json:"requestID"`
	EventID             string          `json:"eventID"`
	ReadOnly            bool            `json:"readOnly"`
	Resources           []resource      `json:"resources,omitempty"`
	EventType           string          `json:"eventType"`
	ManagementEvent     bool            `json:"managementEvent"`
	RecipientAccountID  string          `json:"recipientAccountId"`
	EventCategory       string          `json:"eventCategory"`
}

// additional is what AWS's form has no other place for.
type additional struct {
	Method     string   `json:"method,omitempty"` // of a request that names no operation
	Path       string   `json:"path,omitempty"`
	Suppressed int64    `json:"suppressedEvents,omitempty"` // requests of unknown callers before this one that were not kept
	Omitted    []string `json:"omitted,omitempty"`          // members of the record that were too large
}

type resource struct {
	ARN       string `json:"ARN"`
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"`
}

// event is a record with what it is found by.
type event struct {
	account   string
	at        int64
	id        string
	name      string
	user      string
	key       string
	code      string
	readOnly  bool
	record    string
	resources []string
	requestID string
	done      chan struct{} // of a change: closed when the event is durable or lost
}

// usualDocument is a length in bytes that few inputs exceed.
const usualDocument = 256

// unknownOperation is the name of a request that names no operation.
const unknownOperation = "UnknownOperation"

// encode appends the line of a call, which ends with its record, and says what the call is found by: all of an event but
// the record. suppressed is the number of requests that this one stands for besides itself.
func (s *Service) encode(ctx context.Context, line *encoder, c *operation.Call, suppressed int64) (e event, start int) {
	req := caller.RequestFrom(ctx)
	e = event{account: c.Caller.Account, at: meta.Micros(c.Start), id: uuid.NewString(), name: unknownOperation,
		code: c.Error, readOnly: true, requestID: req.ID}
	if !c.Verified {
		e.account = s.Account
	}
	r := &record{
		EventVersion: "1.11", UserIdentity: identityOf(c), EventTime: c.Start.UTC().Format(time.RFC3339),
		EventSource: source(c.Service), AWSRegion: clip(region(c), maxText), SourceIPAddress: req.SourceIP,
		UserAgent: clip(req.UserAgent, maxText), ErrorCode: c.Error, ErrorMessage: clip(c.Message, maxText),
		RequestID: req.ID, EventID: e.id, EventType: "AwsApiCall", ManagementEvent: true,
		RecipientAccountID: e.account, EventCategory: "Management",
	}
	more := additional{Suppressed: suppressed}
	if c.Operation != nil {
		e.name, e.readOnly = c.Operation.Name, c.Operation.ReadOnly()
		r.RequestParameters = document("requestParameters", c.Operation.Input, c.Input, &more)
		if !e.readOnly || c.Operation.Name == "AssumeRole" { // its answer says which key the session's calls will have
			r.ResponseElements = document("responseElements", c.Operation.Output, c.Output, &more)
		}
	} else {
		more.Method, more.Path = clip(c.Method, 20), clip(c.Path, maxText)
	}
	if more.Method != "" || more.Suppressed > 0 || more.Omitted != nil {
		r.AdditionalEventData = &more
	}
	e.user, e.key = r.UserIdentity.lookupName(), r.UserIdentity.AccessKeyID
	e.resources = resourcesOf(c)
	for _, arn := range e.resources {
		parts := split(arn)
		r.Resources = append(r.Resources, resource{arn, parts[4], typeOf(&parts)})
	}
	r.EventName, r.ReadOnly = e.name, e.readOnly
	line.buf = appendLineStart(line.buf, e.at, e.id)
	start = len(line.buf)
	line.record(r)
	return e, start
}

// source names a service as AWS's records do. Our own is no service of AWS.
func source(s *wire.Service) string {
	if s.Name == "lockfast" {
		return s.Name
	}
	return s.Name + ".amazonaws.com"
}

func region(c *operation.Call) string {
	if c.Verified {
		return c.Caller.Region
	}
	return c.Claimed.Region
}

// document writes an input or output without what must not be logged; nil if there is nothing to write.
func document(what string, s *wire.Shape, v any, more *additional) json.RawMessage {
	if v == nil {
		return nil
	}
	text := wire.AppendRecord(make([]byte, 0, usualDocument), s, v)
	switch {
	case len(text) == len("{}"):
		return nil
	case len(text) > maxDocument:
		more.Omitted = append(more.Omitted, what)
		return nil
	}
	return text
}

// resourcesOf lists what a call is about: the ARNs that permission was asked for, and those that it made.
func resourcesOf(c *operation.Call) []string {
	var arns []string
	add := func(arn string) {
		if strings.HasPrefix(arn, "arn:") && len(arn) <= maxARN && len(arns) < maxResources && !slices.Contains(arns, arn) {
			arns = append(arns, clean(arn))
		}
	}
	for _, a := range c.Asked {
		add(a.Resource)
		for _, also := range a.Also {
			add(also)
		}
	}
	if c.Output == nil || c.Operation.ReadOnly() {
		return arns
	}
	v := reflect.ValueOf(c.Output).Elem()
	for i := range c.Operation.Output.Members {
		m := &c.Operation.Output.Members[i]
		if m.Shape.Kind != wire.String || !strings.HasSuffix(m.Name, "Arn") || m.Hidden() {
			continue
		}
		text, _ := wire.Text(m, v.Field(i))
		add(text)
	}
	return arns
}

// split takes an ARN apart. What is none has empty parts.
func split(arn string) (parts [6]string) {
	rest := arn
	for i := range 5 {
		var ok bool
		if parts[i], rest, ok = strings.Cut(rest, ":"); !ok {
			return [6]string{}
		}
	}
	parts[5] = rest
	return parts
}

// types names kinds of resources as AWS's records do, by service and the beginning of the last part of the ARN.
var types = []struct{ service, prefix, name string }{
	{"backup", "backup-vault:", "AWS::Backup::BackupVault"},
	{"backup", "recovery-point:", "AWS::Backup::RecoveryPoint"},
	{"backup", "backup-plan:", "AWS::Backup::BackupPlan"},
	{"backup", "framework:", "AWS::Backup::Framework"},
	{"backup", "report-plan:", "AWS::Backup::ReportPlan"},
	{"backup", "restore-testing-plan:", "AWS::Backup::RestoreTestingPlan"},
	{"iam", "role/", "AWS::IAM::Role"},
	{"iam", "user/", "AWS::IAM::User"},
	{"iam", "group/", "AWS::IAM::Group"},
	{"iam", "policy/", "AWS::IAM::Policy"},
}

func typeOf(parts *[6]string) string {
	for _, t := range types {
		if parts[2] == t.service && strings.HasPrefix(parts[5], t.prefix) {
			return t.name
		}
	}
	return ""
}

// clean makes a text one that every database takes.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// clip is clean for a text that may be too long.
func clip(s string, n int) string { return clean(s[:min(n, len(s))]) }
