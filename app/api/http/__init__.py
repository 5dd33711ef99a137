"""What any HTTP edge needs: problems, headers, bodies, who asks. Knows no resources."""
