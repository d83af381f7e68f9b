package e2e_test

import "testing"

func TestDamage_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir, arn := s.protect(t)
	s.story(t, dir, arn, python(t), "boto3/damage.py", binary, s.data)
}
