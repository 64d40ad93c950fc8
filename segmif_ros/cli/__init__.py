# SPDX-License-Identifier: Apache-2.0
"""`segmif <verb>`: one small file a verb."""
