# SPDX-License-Identifier: Apache-2.0
"""Image messages, from DDS or from a bag, to arrays: the same checks and conversions for both."""
