package e2e_test

import "testing"

func TestIdentity_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.lockfast(t, "account", "create", "111111111111")
	dir, arn := s.protect(t)
	s.story(t, dir, arn, python(t), "boto3/identity.py", "main")
}

func TestIdentity_Boto3_ServiceLinkedRole(t *testing.T) {
	t.Parallel()
	s := configured(t, "slr_fallback: true\n")
	dir, arn := s.protect(t)
	s.story(t, dir, arn, python(t), "boto3/identity.py", "fallback")
}
