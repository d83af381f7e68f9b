package sigv4

import "fmt"

// Failure is a refusal to accept a signature. Its name depends on the protocol of the service.
type Failure struct {
	Name      string // in JSON protocols
	QueryName string // in the query protocol
	Status    int
	Message   string
	Detail    string // what the server signed, for the log of the operator only
}

func (f *Failure) Error() string { return f.Name + ": " + f.Message }

// The names are those of https://docs.aws.amazon.com/aws-backup/latest/devguide/CommonErrors.html and of the same page of IAM.

func incomplete(format string, args ...any) *Failure {
	return &Failure{Name: "IncompleteSignatureException", QueryName: "IncompleteSignature", Status: 400, Message: fmt.Sprintf(format, args...)}
}

func mismatch(format string, args ...any) *Failure {
	return &Failure{Name: "InvalidSignatureException", QueryName: "SignatureDoesNotMatch", Status: 403, Message: fmt.Sprintf(format, args...)}
}

func unsigned() *Failure {
	return &Failure{
		Name: "MissingAuthenticationTokenException", QueryName: "MissingAuthenticationToken", Status: 403,
		Message: "Missing Authentication Token",
	}
}

func badToken() *Failure {
	return &Failure{
		Name: "UnrecognizedClientException", QueryName: "InvalidClientTokenId", Status: 403,
		Message: "The security token included in the request is invalid.",
	}
}

func expiredToken() *Failure {
	return &Failure{
		Name: "ExpiredTokenException", QueryName: "ExpiredToken", Status: 403,
		Message: "The security token included in the request is expired",
	}
}
