#!/bin/sh
# Ansible's dynamic inventory of everything that davylamp polls:
#   ansible-inventory -i config/inventory/davylamp.sh --list
# The configuration is found through DAVYLAMP_CONFIG, else /etc/davylamp/davylamp.yml.
exec davylamp inventory "$@"
