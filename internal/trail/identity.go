package trail

import (
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/operation"
)

// identity says who called.
//
// See https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html.
type identity struct {
	Type           string          `json:"type"`
	PrincipalID    string          `json:"principalId,omitempty"`
	ARN            string          `json:"arn,omitempty"`
	AccountID      string          `json:"accountId,omitempty"`
	AccessKeyID    string          `json:"accessKeyId,omitempty"`
	UserName       string          `json:"userName,omitempty"`
	SessionContext *sessionContext `json:"sessionContext,omitempty"`
}

type sessionContext struct {
	SessionIssuer  *issuer    `json:"sessionIssuer,omitempty"`
	Attributes     attributes `json:"attributes"`
	SourceIdentity string     `json:"sourceIdentity,omitempty"`
}

type issuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId,omitempty"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

type attributes struct {
	CreationDate     string `json:"creationDate"`
	MFAAuthenticated string `json:"mfaAuthenticated"`
}

// unknownCaller is the type of a caller whose signature is missing or wrong. Its access key is what it claims.
const unknownCaller = "Unknown"

func identityOf(call *operation.Call) identity {
	if !call.Verified {
		return identity{Type: unknownCaller, AccessKeyID: clip(call.Claimed.AccessKeyID, 128)}
	}
	c := call.Caller
	id := identity{Type: string(kindOf(c)), PrincipalID: c.UserID, ARN: c.ARN, AccountID: c.Account, AccessKeyID: c.AccessKeyID}
	if id.Type == string(caller.User) {
		id.UserName = c.Name
		if id.UserName == "" {
			id.UserName = c.ARN[strings.LastIndex(c.ARN, "/")+1:]
		}
	}
	if c.Session == nil {
		return id
	}
	id.SessionContext = &sessionContext{SourceIdentity: c.Session.SourceIdentity,
		Attributes: attributes{CreationDate: c.Session.Issued.UTC().Format(time.RFC3339), MFAAuthenticated: "false"}}
	if c.RoleARN != "" {
		roleID, _, _ := strings.Cut(c.UserID, ":")
		id.SessionContext.SessionIssuer = &issuer{Type: "Role", PrincipalID: roleID, ARN: c.RoleARN,
			AccountID: split(c.RoleARN)[4], UserName: c.Name}
	}
	return id
}

// kindOf is the kind of a caller, found from its ARN if the credentials do not say.
func kindOf(c caller.Caller) caller.Kind {
	switch {
	case c.Kind != "":
		return c.Kind
	case strings.Contains(c.ARN, ":assumed-role/"):
		return caller.RoleSession
	case strings.HasSuffix(c.ARN, ":root"):
		return caller.Root
	}
	return caller.User
}

// lookupName is the name under which a caller's calls are found: the user's, or the role session's.
func (id *identity) lookupName() string {
	switch caller.Kind(id.Type) {
	case caller.User:
		return id.UserName
	case caller.RoleSession:
		return id.ARN[strings.LastIndex(id.ARN, "/")+1:]
	case caller.Root:
		return "root"
	}
	return ""
}
