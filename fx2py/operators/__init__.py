"""What is known of torch's operators: measured and proven facts in ``table.txt``, declared ones in torch's schemas."""
