package trail

import (
	"encoding/json"
	"strconv"

	"github.com/lockfast/lockfast/internal/wire"
)

// encoder writes the JSON of records. A server that mostly answers reads would spend several times as long on their records
// with reflection. What it writes is what encoding/json reads into the same types.
type encoder struct{ buf []byte }

func (e *encoder) record(r *record) {
	e.open('{')
	e.text("eventVersion", r.EventVersion)
	e.name("userIdentity")
	e.identity(&r.UserIdentity)
	e.text("eventTime", r.EventTime)
	e.text("eventSource", r.EventSource)
	e.text("eventName", r.EventName)
	e.text("awsRegion", r.AWSRegion)
	e.text("sourceIPAddress", r.SourceIPAddress)
	e.text("userAgent", r.UserAgent)
	e.some("errorCode", r.ErrorCode)
	e.some("errorMessage", r.ErrorMessage)
	e.raw("requestParameters", r.RequestParameters)
	e.raw("responseElements", r.ResponseElements)
	if r.AdditionalEventData != nil {
		e.name("additionalEventData")
		e.additional(r.AdditionalEventData)
	}
	e.text("requestID", r.RequestID)
	e.text("eventID", r.EventID)
	e.bool("readOnly", r.ReadOnly)
	e.resources(r.Resources)
	e.text("eventType", r.EventType)
	e.bool("managementEvent", r.ManagementEvent)
	e.text("recipientAccountId", r.RecipientAccountID)
	e.text("eventCategory", r.EventCategory)
	e.close('}')
}

func (e *encoder) identity(id *identity) {
	e.open('{')
	e.text("type", id.Type)
	e.some("principalId", id.PrincipalID)
	e.some("arn", id.ARN)
	e.some("accountId", id.AccountID)
	e.some("accessKeyId", id.AccessKeyID)
	e.some("userName", id.UserName)
	if id.SessionContext != nil {
		e.name("sessionContext")
		e.session(id.SessionContext)
	}
	e.close('}')
}

func (e *encoder) session(s *sessionContext) {
	e.open('{')
	if i := s.SessionIssuer; i != nil {
		e.name("sessionIssuer")
		e.open('{')
		e.text("type", i.Type)
		e.some("principalId", i.PrincipalID)
		e.text("arn", i.ARN)
		e.text("accountId", i.AccountID)
		e.text("userName", i.UserName)
		e.close('}')
	}
	e.name("attributes")
	e.open('{')
	e.text("creationDate", s.Attributes.CreationDate)
	e.text("mfaAuthenticated", s.Attributes.MFAAuthenticated)
	e.close('}')
	e.some("sourceIdentity", s.SourceIdentity)
	e.close('}')
}

func (e *encoder) additional(a *additional) {
	e.open('{')
	e.some("method", a.Method)
	e.some("path", a.Path)
	if a.Suppressed != 0 {
		e.name("suppressedEvents")
		e.buf = strconv.AppendInt(e.buf, a.Suppressed, 10)
	}
	if len(a.Omitted) > 0 {
		e.name("omitted")
		e.open('[')
		for _, name := range a.Omitted {
			e.comma()
			e.buf = wire.AppendText(e.buf, name)
		}
		e.close(']')
	}
	e.close('}')
}

func (e *encoder) resources(all []resource) {
	if len(all) == 0 {
		return
	}
	e.name("resources")
	e.open('[')
	for _, r := range all {
		e.comma()
		e.open('{')
		e.text("ARN", r.ARN)
		e.some("accountId", r.AccountID)
		e.some("type", r.Type)
		e.close('}')
	}
	e.close(']')
}

func (e *encoder) open(c byte)  { e.buf = append(e.buf, c) }
func (e *encoder) close(c byte) { e.buf = append(e.buf, c) }

// comma writes a comma before anything but the first in an object or a list.
func (e *encoder) comma() {
	if c := e.buf[len(e.buf)-1]; c != '{' && c != '[' {
		e.buf = append(e.buf, ',')
	}
}

func (e *encoder) name(name string) {
	e.comma()
	e.buf = append(e.buf, '"')
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, '"', ':')
}

func (e *encoder) text(name, value string) {
	e.name(name)
	e.buf = wire.AppendText(e.buf, value)
}

// some is text for a member that is left out if it is empty.
func (e *encoder) some(name, value string) {
	if value != "" {
		e.text(name, value)
	}
}

func (e *encoder) bool(name string, value bool) {
	e.name(name)
	e.buf = strconv.AppendBool(e.buf, value)
}

func (e *encoder) raw(name string, value json.RawMessage) {
	e.name(name)
	if value == nil {
		value = json.RawMessage("null")
	}
	e.buf = append(e.buf, value...)
}
